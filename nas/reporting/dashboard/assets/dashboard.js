"use strict";
(() => {
  const NARROW = 560;
  const root = document.documentElement;
  const keep = (value) => { try { localStorage.setItem("nas-theme", value); } catch (e) { /* private mode */ } };
  const kept = () => { try { return localStorage.getItem("nas-theme"); } catch (e) { return null; } };
  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  let theme = kept() || system();
  let width = innerWidth;
  let clicksSeen = 0;
  root.dataset.theme = theme;

  const state = () => ({ theme, width: width < NARROW ? 390 : 1280 });
  const label = () => {
    const button = document.getElementById("theme");
    if (button) button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
  };
  window.addEventListener("resize", () => {
    const crossed = (innerWidth < NARROW) !== (width < NARROW);
    width = innerWidth;
    if (crossed) window.dash_clientside.set_props("view", { data: state() });
  });

  const candidates = (points) => [...new Set((points || []).map((p) => p.customdata && p.customdata[0]).filter(Boolean))];
  const names = ["level", "blocks", "sites", "counts", "stage", "max_ms", "text", "speed"];

  document.addEventListener("click", (event) => {
    const button = event.target.closest("#front-table button[data-order]");
    if (button) window.dash_clientside.set_props("front-order", { data: JSON.parse(button.dataset.order) });
    const link = event.target.closest("#front-table a");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    window.dash_clientside.set_props("url", { pathname: link.pathname, search: "" });
  });

  const find = () => {
    const box = document.getElementById("find-study");
    const table = box && document.querySelector("#body table.studies");
    if (!table) return;
    const wanted = box.value.trim().toLowerCase();
    if (wanted) table.classList.add("opened");
    [...table.tBodies[0].rows].forEach((row) => { row.style.display = row.textContent.toLowerCase().includes(wanted) ? "" : "none"; });
  };
  document.addEventListener("input", (event) => { if (event.target.id === "find-study") find(); });
  new MutationObserver(find).observe(root, { childList: true, subtree: true });

  // Dash calls its groups of checkboxes and radio buttons list boxes, and hides from screen readers what the keyboard
  // reaches: the groups are named by what stands before them, and the keyboard reaches a dropdown's button only.
  const spoken = () => {
    document.querySelectorAll(".dash-checklist[role=listbox], .dash-radioitems[role=listbox]").forEach((list) => {
      list.setAttribute("role", "group");
      list.setAttribute("aria-label", list.previousElementSibling?.textContent || document.querySelector("h1")?.textContent || "choices");
    });
    document.querySelectorAll(".dash-checklist .dash-options-list-option, .dash-radioitems .dash-options-list-option").forEach((option) => {
      option.removeAttribute("role");
      option.removeAttribute("aria-selected");
    });
    document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']").forEach((target) => target.setAttribute("tabindex", "-1"));
  };
  new MutationObserver(spoken).observe(root, { childList: true, subtree: true, attributeFilter: ["role", "aria-selected"] });
  let linked = "";
  const here = () => { // the open page's link, where the navigation is longer than a telephone is wide
    const link = document.querySelector("nav a.here");
    if (link?.href === linked) return;
    linked = link?.href;
    if (link) link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft - 40;
  };
  new MutationObserver(here).observe(root, { childList: true, subtree: true, attributeFilter: ["class"] });
  const asked = (query) => { history.replaceState(history.state, "", location.pathname + "?" + new URLSearchParams(query)); return ""; };

  window.nas = {
    pair: (first, second) => asked({ first, second }),
    together: (names) => asked({ studies: (names || []).join(",") }),
    table: (html) => {
      const host = document.getElementById("front-table");
      if (!host || !html) return "";
      const key = host.contains(document.activeElement) && document.activeElement.dataset.key;
      const left = host.querySelector(".scroll")?.scrollLeft;
      host.innerHTML = html;
      if (left) host.querySelector(".scroll").scrollLeft = left;
      if (key) [...host.querySelectorAll("[data-key]")].find((element) => element.dataset.key === key)?.focus();
      return "";
    },
    firstPage: (...values) => {
      const order = values[values.length - 1];
      return order.page ? { ...order, page: 0 } : window.dash_clientside.no_update;
    },
    view: (clicks) => {
      if (clicks && clicks !== clicksSeen) {
        theme = theme === "dark" ? "light" : "dark";
        keep(theme);
      }
      clicksSeen = clicks || 0;
      root.dataset.theme = theme;
      label();
      return state();
    },
    arrived: () => {
      const heading = document.querySelector("#page h1");
      const filters = document.querySelector("details.filters");
      if (filters && innerWidth < 860) filters.open = false;
      document.title = heading ? `${heading.textContent} · nas` : "nas dashboard";
      return "";
    },
    selected: (data) => {
      const found = data ? candidates(data.points) : [];
      return found.length ? found : window.dash_clientside.no_update;
    },
    zooms: (events, known) => {
      const next = { ...known };
      window.dash_clientside.callback_context.triggered.forEach(({ prop_id: id, value: event }) => {
        if (!event) return;
        const { name } = JSON.parse(id.slice(0, id.lastIndexOf(".")));
        const plot = document.getElementById(id.slice(0, id.lastIndexOf(".")))?.querySelector(".js-plotly-plot");
        const ranges = {};
        Object.keys(event).forEach((key) => {
          const axis = (key.match(/^([xy]axis\d*)\.range/) || [])[1];
          if (axis) ranges[axis] = [event[`${axis}.range[0]`] ?? event[`${axis}.range`]?.[0], event[`${axis}.range[1]`] ?? event[`${axis}.range`]?.[1]];
        });
        const reset = Object.keys(event).some((key) => key.endsWith(".autorange"));
        const revision = plot?._fullLayout?.uirevision;
        const before = next[name] && next[name].revision === revision ? next[name].ranges : {};
        if (reset) delete next[name];
        else if (Object.keys(ranges).length) next[name] = { revision, ranges: { ...before, ...ranges } };
      });
      return next;
    },
    unselect: (clicks, figure) => {
      const data = figure.data.map((trace) => { const { selectedpoints, ...rest } = trace; return rest; });
      return [[], { ...figure, data, layout: { ...figure.layout, selections: [] } }];
    },
    clickThrough: (data, pathname) => {
      const found = data ? candidates(data.points) : [];
      if (!found.length) return window.dash_clientside.no_update;
      return pathname.replace(/\/front.*$/, "") + "/candidate/" + encodeURIComponent(found[0]);
    },
    address: (...values) => {
      const query = new URLSearchParams();
      names.forEach((name, i) => {
        const value = Array.isArray(values[i]) ? [...values[i]].sort().join(",") : values[i];
        if (value) query.set(name, value);
      });
      const text = query.toString();
      history.replaceState(history.state, "", location.pathname + (text ? "?" + text : ""));
      return "";
    },
    clear: () => [[], "", [], null, "", ""],
  };
  window.dash_clientside = Object.assign({}, window.dash_clientside, { nas: window.nas });
})();
