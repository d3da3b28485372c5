"use strict";

// A latent's slider moves its picture along the strip.
for (const slider of document.querySelectorAll(".latent input")) {
  const view = slider.closest(".latent").querySelector(".view");
  const output = slider.parentElement.querySelector("output");
  const show = () => {
    const share = slider.value / slider.max;
    const value = ((2 * share - 1) * LIMIT).toFixed(1);
    view.style.backgroundPositionX = `${100 * share}%`;
    output.value = value > 0 ? `+${value}` : value;
    slider.setAttribute("aria-valuetext", `${value} standard deviations`);
  };
  slider.addEventListener("input", show);
  show(); // a browser may have kept the slider's place over a reload
}

// Paper cannot unfold what is folded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => (details.open = true)));

// A click on a column's header sorts by it: numbers from the largest, words from A; a second click turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.addEventListener("click", () => sortBy(table, headers, column)));
}

function sortBy(table, headers, column) {
  const body = table.tBodies[0];
  const cellOf = (row) => row.cells[column];
  const isEmpty = (row) => cellOf(row).textContent.trim() === "";
  const isNumber = [...body.rows].every((row) => "value" in cellOf(row).dataset || isEmpty(row));
  const before = headers[column].getAttribute("aria-sort");
  const descending = before ? before === "ascending" : isNumber;
  const sign = descending ? -1 : 1;
  const compare = (a, b) => {
    const [left, right] = [cellOf(a), cellOf(b)];
    const missing = isEmpty(a) - isEmpty(b);
    if (missing) return missing; // last, whichever way
    if (isNumber) return sign * (left.dataset.value - right.dataset.value);
    return sign * left.textContent.localeCompare(right.textContent, undefined, { numeric: true });
  };
  body.append(...[...body.rows].sort(compare));
  headers.forEach((header) => header.removeAttribute("aria-sort"));
  headers[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
}
