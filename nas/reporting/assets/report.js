(() => {
  const root = document.documentElement;
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const remember = (value) => { try { localStorage.setItem("nas-theme", value); } catch (e) { /* private mode */ } };
  const remembered = () => { try { return localStorage.getItem("nas-theme"); } catch (e) { return null; } };
  const system = () => (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  let theme = remembered() || system();

  function themed(source) {
    if (theme !== "dark") return source;
    return Object.entries(settings.dark).reduce((text, [light, dark]) => text.replaceAll(light, dark), source);
  }
  function narrow(layout) {
    const x = layout.xaxis?.title, y = layout.yaxis?.title;
    if (x?.text) x.text = x.text.replace(" (", "<br>(");
    if (y?.text) y.font = { size: 11 };
    layout.annotations = (layout.annotations || []).filter((a) => a.name !== "wide only");
    layout.annotations.forEach((a) => {
      a.text = a.text.replace(/^stage (\d)$/, "s$1").replace(/^stem$/, "s0");
    });
  }
  function draw(plot) {
    if (typeof Plotly === "undefined") return undefined; // plotly.min.js is not beside the page: stills stay
    if (!plot.dataset.drawn) plot.replaceChildren();
    const source = document.getElementById("figure-" + plot.dataset.figure).textContent;
    const figure = JSON.parse(themed(source));
    if (plot.clientWidth < 560) {
      figure.layout.margin = Object.assign({}, figure.layout.template.layout.margin, figure.layout.margin, { l: 46, r: 10 });
      narrow(figure.layout);
    }
    plot.dataset.drawn = theme;
    return Plotly.react(plot, figure.data, figure.layout, settings.config);
  }
  function apply() {
    root.dataset.theme = theme;
    const button = document.querySelector("button.theme");
    button.textContent = theme === "dark" ? "Light theme" : "Dark theme";
    document.querySelectorAll(".plot[data-drawn]").forEach((plot) => plot.dataset.drawn !== theme && draw(plot));
  }
  document.querySelector("button.theme").addEventListener("click", () => {
    theme = theme === "dark" ? "light" : "dark";
    remember(theme);
    apply();
  });
  apply();

  const plots = [...document.querySelectorAll(".plot")];
  const seen = new IntersectionObserver((entries) => {
    entries.filter((e) => e.isIntersecting).forEach((e) => { seen.unobserve(e.target); draw(e.target); });
  }, { rootMargin: "600px" });
  plots.forEach((plot) => seen.observe(plot));
  window.addEventListener("beforeprint", () => plots.forEach((plot) => plot.dataset.drawn || draw(plot)));

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const here = new IntersectionObserver((entries) => {
    entries.filter((e) => e.isIntersecting).forEach((e) => {
      links.forEach((a) => a.removeAttribute("aria-current"));
      links.get(e.target.id)?.setAttribute("aria-current", "true");
    });
  }, { rootMargin: "0px 0px -75% 0px" });
  document.querySelectorAll("section[id]").forEach((section) => here.observe(section));
  const unfold = () => document.getElementById(location.hash.slice(1))?.querySelector(":scope > details")?.setAttribute("open", "");
  window.addEventListener("hashchange", unfold);
  unfold();

})();
