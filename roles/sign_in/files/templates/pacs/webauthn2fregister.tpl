<TMPL_INCLUDE NAME="header.tpl">
<main id="menucontent" class="container">
  <div id="color" class="message message-<TMPL_VAR NAME="ALERT"> alert" role="status"><span id="msg" trspan="<TMPL_VAR NAME="MSG">"></span></div>
  <div class="card steps">
    <p id="u2fPermission" class="step" trspan="u2fPermission"></p>
    <label for="keyName" trspan="keyName">Name of the key</label>
    <input type="text" class="form-control" id="keyName" name="keyName" value="PACS" maxlength="20" />
    <button type="button" id="retrybutton" class="btn btn-success"><span trspan="register">Register</span></button>
  </div>
</main>
<div class="buttons">
  <a href="<TMPL_VAR NAME="PORTAL_URL">2fregisters" class="btn quiet"><span trspan="sfaManager">Second factors</span></a>
  <a id="goback" href="<TMPL_VAR NAME="PORTAL_URL">?cancel=1<TMPL_IF NAME="AUTH_URL">&url=<TMPL_VAR NAME="AUTH_URL"></TMPL_IF>" class="btn quiet"><span trspan="goToPortal">Go to portal</span></a>
</div>
<TMPL_INCLUDE NAME="footer.tpl">
