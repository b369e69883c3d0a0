// Runs before everything else of the page. It stands in a file, not in the page, because the page's policy forbids inline scripts.

window.PUBLIC_URL = '/ohif/';

// OHIF loads one library (slide microscopy) by its address only when it is needed.
window.browserImportFunction = address => import(address);

// OHIF speaks the language that the pages of this server speak; where nobody chose one there, the browser's.
// A choice made in OHIF's own preferences stays until another one is made on the pages.
(() => {
  const languages = { en: 'en-US', es: 'es', pt: 'pt-BR' };
  const known = wanted => languages[String(wanted).slice(0, 2).toLowerCase()];
  const remember = language => {
    localStorage.setItem('i18nextLng', language);
    document.cookie = `i18next=${language}; path=/; SameSite=Lax`;
  };
  try {
    const chosen = /(?:^|; )pacs_language=([a-z]+)/.exec(document.cookie)?.[1];
    if (chosen && known(chosen) && chosen !== localStorage.getItem('pacsLanguage')) {
      localStorage.setItem('pacsLanguage', chosen);
      remember(known(chosen));
    } else if (!localStorage.getItem('i18nextLng')) {
      remember(navigator.languages.map(known).find(Boolean) ?? 'en-US');
    }
  } catch {
    // A browser that forbids storage gets OHIF's own choice.
  }
})();

// What OHIF will ask for first can be asked for while its program is still being loaded; it then finds the answers in the browser's cache
// (NGINX lets them be kept for some seconds).
(async () => {
  const study = new URLSearchParams(location.search).get('StudyInstanceUIDs')?.split(',')[0];
  if (!study || !/^[0-9.]+$/.test(study)) {
    return;
  }
  const ask = path => fetch(`/dicom-web/studies/${study}/series${path}`, { headers: { Accept: 'application/dicom+json' } });
  try {
    const answer = await ask('');
    const series = answer.ok ? await answer.json() : [];
    series.slice(0, 6).forEach(one => ask(`/${one['0020000E'].Value[0]}/metadata`));
  } catch {
    // OHIF asks again and tells what is wrong.
  }
})();
