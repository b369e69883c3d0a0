</div>
<footer>
  <nav id="pacs-languages" aria-label="Idioma · Language">
    <button type="button" lang="es" data-language="es">Español</button>
    <button type="button" lang="pt-BR" data-language="pt_BR">Português</button>
    <button type="button" lang="en" data-language="en">English</button>
  </nav>
  <span id="languages" hidden></span>
</footer>
<script src="<TMPL_VAR NAME="SCRIPTNAME">psgi.js"></script>
</body>
</html>
