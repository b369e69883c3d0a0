<TMPL_IF NAME="TOKEN">
<input id="token" type="hidden" name="token" value="<TMPL_VAR NAME="TOKEN">" />
</TMPL_IF>
<TMPL_IF NAME="WAITING_MESSAGE">
<div class="message message-warning alert"><span trspan="waitingmessage"></span></div>
<TMPL_ELSE>
<div class="form">
  <label for="userfield" trspan="login">Login</label>
  <input id="userfield" name="user" type="text" class="form-control" value="<TMPL_IF NAME="ACTIVE_FORM"><TMPL_VAR NAME="LOGIN" ESCAPE=HTML></TMPL_IF>"
    required autocomplete="username webauthn" autocapitalize="none" spellcheck="false" <TMPL_UNLESS NAME="LOGIN"><TMPL_IF NAME="ACTIVE_FORM">autofocus</TMPL_IF></TMPL_UNLESS> />
  <label for="passwordfield" trspan="password">Password</label>
  <input id="passwordfield" name="password" type="password" class="form-control" required autocomplete="current-password"
    <TMPL_IF NAME="LOGIN"><TMPL_IF NAME="ACTIVE_FORM">autofocus</TMPL_IF></TMPL_IF> />
  <button type="submit" class="btn btn-success"><span trspan="connect">Connect</span></button>
</div>
</TMPL_IF>
