<TMPL_INCLUDE NAME="header.tpl">
<main id="logincontent" class="container">
<TMPL_IF NAME="AUTH_ERROR">
  <div class="message message-<TMPL_VAR NAME="AUTH_ERROR_TYPE"> alert" role="<TMPL_VAR NAME="AUTH_ERROR_ROLE">"><span trmsg="<TMPL_VAR NAME="AUTH_ERROR">"></span></div>
</TMPL_IF>
<div class="card">
<form action="<TMPL_VAR NAME="TARGET">" method="post" class="password">
  <input type="hidden" id="token" name="token" value="<TMPL_VAR NAME="TOKEN">" />
  <input type="hidden" name="skin" value="<TMPL_VAR NAME="SKIN">" />
  <label for="extcode" trspan="enterTotpCode">Code</label>
  <input name="code" type="text" class="form-control code" id="extcode" required inputmode="numeric" pattern="[0-9]{6}" maxlength="6"
    autocomplete="one-time-code" autofocus />
  <button type="submit" class="btn btn-success btn-single-submit"><span trspan="connect">Connect</span></button>
  <a href="<TMPL_VAR NAME="PORTAL_URL">?cancel=1" class="btn quiet"><span trspan="cancel">Cancel</span></a>
</form>
</div>
</main>
<TMPL_INCLUDE NAME="footer.tpl">
