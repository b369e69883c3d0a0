// Languages by name instead of flags, and what the pages of LemonLDAP::NG leave untold to screen readers.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const current = () => (document.cookie.match(/(?:^|; )llnglanguage=(\w+)/) || [])[1] || document.documentElement.lang;
  const mark = () => {
    for (const button of document.querySelectorAll("#pacs-languages button")) {
      const isCurrent = button.dataset.language === current() || (button.dataset.language === "pt_BR" && current() === "pt");
      button.toggleAttribute("aria-current", isCurrent);
    }
  };
  for (const button of document.querySelectorAll("#pacs-languages button")) {
    button.addEventListener("click", () => {
      document.cookie = `llnglanguage=${button.dataset.language}; path=/; max-age=31536000; secure; samesite=lax`;
      location.reload();
    });
  }
  mark();
});
