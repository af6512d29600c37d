"use strict";
document.addEventListener("click", ({ target }) => {
  if (target.matches("button.more")) {
    target.previousElementSibling.querySelector("table").classList.add("opened");
    target.hidden = true;
    return;
  }
  const button = target.closest("table.sortable thead button");
  if (!button) return;
  const value = (cell) => {
    const text = cell.textContent.trim();
    if (/^\d{4}-\d\d-\d\d/.test(text)) return text;
    const number = parseFloat(text.replaceAll("\u202f", "").replaceAll("−", "-").replace(/^[<[]\s*/, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const heading = button.closest("th"), body = heading.closest("table").tBodies[0];
  const down = heading.getAttribute("aria-sort") === "ascending";
  heading.parentElement.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const column = heading.cellIndex, sign = down ? -1 : 1;
  const rows = [...body.rows].map((row) => [value(row.cells[column]), row]);
  const rank = (v) => (v === "–" || v === "" ? 2 : typeof v === "number" ? 0 : 1);
  rows.sort(([a], [b]) => rank(a) - rank(b) || sign * (a < b ? -1 : a > b ? 1 : 0));
  body.append(...rows.map(([, row]) => row));
});
