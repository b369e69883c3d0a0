<TMPL_INCLUDE NAME="header.tpl">
<main id="menucontent" class="container">
  <div id="color" class="message message-<TMPL_VAR NAME="ALERT"> alert" role="status"><span id="msg" trspan="<TMPL_VAR NAME="MSG">"></span></div>
  <div id="divToHide" class="card steps">
    <p class="step"><span trspan="totpQrCode"></span></p>
    <a class="otpauth-url" href=""><canvas id="qr"></canvas></a>
    <p class="hint"><span trspan="totpSecretKey"></span> <code id="secret"></code></p>
    <label for="code" class="step" trspan="totpRegisterCode">Code</label>
    <input id="code" class="form-control code" name="code" inputmode="numeric" pattern="[0-9]{6}" maxlength="6" autocomplete="one-time-code" />
    <input type="hidden" id="TOTPName" name="TOTPName" value="TOTP" />
    <button type="button" id="verify" class="btn btn-success"><span trspan="register">Register</span></button>
  </div>
</main>
<div class="buttons">
  <a href="<TMPL_VAR NAME="PORTAL_URL">2fregisters" class="btn quiet"><span trspan="sfaManager">Second factors</span></a>
  <a id="goback" href="<TMPL_VAR NAME="PORTAL_URL">?cancel=1<TMPL_IF NAME="AUTH_URL">&url=<TMPL_VAR NAME="AUTH_URL"></TMPL_IF>" class="btn quiet"><span trspan="goToPortal">Go to portal</span></a>
</div>
<script src="<TMPL_VAR NAME="STATIC_PREFIX">bwr/qrious/dist/qrious.min.js?v=<TMPL_VAR CACHE_TAG>"></script>
<script src="<TMPL_VAR NAME="STATIC_PREFIX">common/js/totpregistration.min.js?v=<TMPL_VAR CACHE_TAG>"></script>
<TMPL_INCLUDE NAME="footer.tpl">
