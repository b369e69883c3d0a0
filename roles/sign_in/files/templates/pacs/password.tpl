<form id="formpass" action="#" method="post" class="password">
  <TMPL_VAR NAME="HIDDEN_INPUTS">
  <TMPL_IF NAME="AUTH_URL"><input type="hidden" name="url" value="<TMPL_VAR NAME="AUTH_URL">" /></TMPL_IF>
  <input type="hidden" name="skin" value="<TMPL_VAR NAME="SKIN">" />
  <TMPL_IF NAME="TOKEN"><input type="hidden" name="token" value="<TMPL_VAR NAME="TOKEN">" /></TMPL_IF>
  <TMPL_IF NAME="LOGIN"><input type="hidden" name="user" autocomplete="username" value="<TMPL_VAR NAME=LOGIN ESCAPE=HTML>" /></TMPL_IF>
  <TMPL_IF NAME="REQUIRE_OLDPASSWORD">
    <TMPL_IF NAME="HIDE_OLDPASSWORD">
    <input id="oldpassword" name="oldpassword" type="hidden" value="<TMPL_VAR NAME=OLDPASSWORD>" />
    <TMPL_ELSE>
    <label for="oldpassword" trspan="currentPwd">Current password</label>
    <input id="oldpassword" name="oldpassword" type="password" class="form-control" required autocomplete="current-password" />
    </TMPL_IF>
  </TMPL_IF>
  <label for="newpassword" trspan="newPassword">New password</label>
  <input id="newpassword" name="newpassword" type="password" class="form-control" required autocomplete="new-password" autofocus />
  <label for="confirmpassword" trspan="confirmPwd">Repeat it</label>
  <input id="confirmpassword" name="confirmpassword" type="password" class="form-control" required autocomplete="new-password" />
  <TMPL_IF NAME="DISPLAY_PPOLICY"><TMPL_INCLUDE NAME="passwordpolicy.tpl"></TMPL_IF>
  <button type="submit" class="btn btn-success"><span trspan="submit">Save</span></button>
</form>
