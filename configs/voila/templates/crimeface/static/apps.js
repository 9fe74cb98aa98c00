/* Says to screen readers what the widget libraries leave unsaid, and to everyone when the server has gone. */
"use strict";
(() => {
  const words = (node) => (node ? node.textContent.trim() : "");
  const label = (node) => words(node.closest(".jupyter-widgets,.widget-toggle-buttons")?.querySelector(".widget-label"));
  const set = (node, name, value) => value && node.getAttribute(name) !== value && node.setAttribute(name, value);
  let last = 0;

  const rules = {
    // a slider's handle, two of them on a range; the value is read from the text beside it
    ".noUi-handle": (node) => {
      const handles = node.closest(".noUi-target").querySelectorAll(".noUi-handle");
      const end = handles.length > 1 ? (node === handles[0] ? ", from" : ", to") : "";
      set(node, "aria-label", label(node) + end);
      const readout = node.closest(".jupyter-widgets").querySelector(".widget-readout");
      if (readout && words(readout)) {
        readout.id ||= `cf-readout-${++last}`;
        set(node, "aria-describedby", readout.id);
      }
    },
    ".widget-readout[contenteditable]": (node) => {
      set(node, "role", "textbox");
      set(node, "aria-label", `${label(node)}, value`);
    },
    ".widget-toggle-button": (node) => set(node, "aria-pressed", String(node.classList.contains("mod-active"))),
    ".widget-toggle-buttons": (node) => {
      set(node, "role", "group");
      set(node, "aria-label", label(node) || "Show");
    },
    ".cf-stage canvas": (node) => {
      set(node, "role", "img");
      set(node, "aria-label", "The 3D face");
    },
    ".js-plotly-plot .main-svg:first-of-type": (node) => {
      set(node, "role", "img");
      set(node, "aria-label", "Map; its figures are in the text beside and below it.");
    },
    "[title=null]": (node) => node.removeAttribute("title"),
    ".modebar-btn": (node) => {
      set(node, "role", "button");
      set(node, "aria-label", node.dataset.title);
    },
  };

  // Voila looks for a widget for two seconds; where the page was busy that long it says so and leaves it there
  const widget = [...document.querySelectorAll('script[type="application/vnd.voila.cell-output+json"]')]
    .map((node) => JSON.parse(node.textContent).data?.["application/vnd.jupyter.widget-view+json"]?.model_id).find(Boolean);
  const fetchAgain = async (node) => {
    node.textContent = "";
    const manager = await window.jupyterapp.widgetManagerPromise.promise;
    const shown = (await manager.create_view(await manager.get_model(widget))).luminoWidget;
    shown.processMessage({type: "before-attach"});
    node.append(shown.node);
    shown.processMessage({type: "after-attach"});
  };

  const look = () => {
    for (const node of document.querySelectorAll("#cf-main .jupyter-widgets")) {
      if (node.textContent === "Error displaying widget: model not found") fetchAgain(node);
    }
    for (const [selector, name] of Object.entries(rules)) document.querySelectorAll(selector).forEach(name);
    const waiting = document.getElementById("cf-loading");
    if (waiting && document.querySelector("#cf-main .jupyter-widgets:not(:empty)")) {
      waiting.remove();
      // k3d looks here before it asks the kernel for its code
      const drawing = document.body.dataset.drawsWith;
      if (drawing.endsWith("/widget.mjs")) globalThis.__k3dWidgetModule ||= import(drawing).then((code) => code.default);
    }
  };
  let asked = false;
  new MutationObserver(() => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      look();
    });
  }).observe(document.documentElement, {childList: true, subtree: true, attributeFilter: ["class"]});

  // a page whose kernel has gone, with the server or by itself, says so
  const { baseUrl, kernelId } = JSON.parse(document.getElementById("jupyter-config-data").textContent);
  let missed = 0;
  const ask = async () => {
    if (document.hidden || missed > 1) return;
    const answer = await fetch(`${baseUrl}api/kernels/${kernelId}`, { redirect: "manual" }).catch(() => null);
    missed = answer?.ok ? 0 : missed + 1;
    if (missed === 1) setTimeout(ask, 1000);
    if (missed < 2) return;
    const said = document.createElement("p");
    said.className = "cf-status cf-problem";
    said.setAttribute("role", "alert");
    said.innerHTML = 'Nothing answers this page any more: the apps were stopped, or it was left for long. '
      + '<a href="">Load it again</a>; where they were started anew, use the newest link.';
    document.getElementById("cf-main").prepend(said);
  };
  setInterval(ask, 10000);
  document.addEventListener("visibilitychange", ask);
})();
