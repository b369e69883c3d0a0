<TMPL_INCLUDE NAME="header.tpl">
<main class="container">
  <div id="color" class="message message-<TMPL_VAR NAME="ALERT"> alert" role="status">
    <TMPL_IF NAME="REG_REQUIRED"><span trspan="2fRegRequired"></span><TMPL_ELSE><span id="msg" trspan="<TMPL_VAR NAME="MSG">"></span></TMPL_IF>
  </div>
  <TMPL_IF NAME="SFDEVICES">
  <div class="card devices">
    <TMPL_LOOP NAME="SFDEVICES">
    <div id="delete-<TMPL_VAR NAME="epoch">" class="device">
      <span><TMPL_IF name="label"><TMPL_VAR NAME="label"><TMPL_ELSE><TMPL_VAR NAME="type"></TMPL_IF> <small class="data-epoch"><TMPL_VAR NAME="epoch"></small></span>
      <TMPL_IF NAME="delAllowed">
      <button type="button" class="btn btn-danger" device="<TMPL_VAR NAME="type">" epoch="<TMPL_VAR NAME="epoch">" prefix="<TMPL_VAR NAME="prefix">" data-toggle="modal"
        data-target="#remove2fModal"><span trspan="unregister">Unregister</span></button>
      </TMPL_IF>
    </div>
    </TMPL_LOOP>
  </div>
  </TMPL_IF>
  <div class="modal" id="remove2fModal" tabindex="-1" role="dialog" aria-labelledby="remove2fModalLabel" aria-hidden="true">
    <div class="modal-dialog" role="document"><div class="modal-content">
      <h1 class="modal-title" id="remove2fModalLabel"><span trspan="areYouSure">Are you sure?</span></h1>
      <div class="modal-body"><span trspan="remove2fWarning">This operation cannot be undone</span></div>
      <div class="modal-footer">
        <button type="button" class="btn" data-dismiss="modal"><span trspan="cancel">Cancel</span></button>
        <button type="button" class="btn btn-danger remove2f" data-dismiss="modal"><span trspan="unregister">Unregister</span></button>
      </div>
    </div></div>
  </div>
  <nav class="choices">
    <TMPL_LOOP NAME="MODULES">
    <a class="btn" href="<TMPL_VAR NAME="URL">"><TMPL_IF LABEL><TMPL_VAR NAME="LABEL"><TMPL_ELSE><span trspan="<TMPL_VAR NAME="CODE">2f"></span></TMPL_IF></a>
    </TMPL_LOOP>
  </nav>
</main>
<div class="buttons">
  <TMPL_IF NAME="DISPLAY_UPG">
  <a href="<TMPL_VAR NAME="PORTAL_URL">upgradesession?forceUpgrade=1&url=<TMPL_VAR NAME="SFREGISTERS_URL">" class="btn btn-success"><span trspan="upgradeSession">Upgrade session</span></a>
  </TMPL_IF>
  <a href="<TMPL_VAR NAME="PORTAL_URL">?cancel=1" class="btn quiet"><span trspan="goToPortal">Go to portal</span></a>
</div>
<script src="<TMPL_VAR NAME="STATIC_PREFIX">common/js/2fregistration.min.js?v=<TMPL_VAR CACHE_TAG>"></script>
<TMPL_INCLUDE NAME="footer.tpl">
