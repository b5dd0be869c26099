// In the pages of machines that OPEN PORT shows (`port_worker.js` puts it there): a link or form that
// names the root of its host means the machine's, and not that of the playground's web host.
"use strict";

(() => {
  const [root] = location.pathname.match(/^.*?\/port\/[^/]+\/[\d.]+-\d+(?=\/)/) ?? [];
  if (!root) return;

  /** The address below this page's port, or undefined for one that is there already or elsewhere. */
  const moved = (address) => {
    const url = new URL(address, document.baseURI);
    const stays = url.origin !== location.origin || url.pathname.startsWith(`${root}/`);
    if (stays) return undefined;
    url.pathname = root + url.pathname;
    return url.href;
  };

  addEventListener(
    "click",
    ({ target }) => {
      const link = target.closest?.("a[href], area[href]");
      const to = link && moved(link.href);
      if (to) link.href = to;
    },
    true,
  );
  addEventListener(
    "submit",
    ({ target, submitter }) => {
      const named = submitter?.hasAttribute("formaction");
      const to = moved(named ? submitter.formAction : target.action);
      if (!to) return;
      if (named) submitter.formAction = to;
      else target.action = to;
    },
    true,
  );
})();
