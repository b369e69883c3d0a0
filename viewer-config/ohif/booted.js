// Runs after OHIF's main program was read: gives the page its cookies back, see boot.js.
delete document.cookie;
window.pacsCookiesToSet.forEach(cookie => {
  document.cookie = cookie;
});
delete window.pacsCookiesToSet;
