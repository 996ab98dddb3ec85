"use strict";
(() => {
  const rows = [...document.querySelectorAll("#table tbody tr")];
  let texts = null;
  const search = document.getElementById("search");
  const state = document.getElementById("state");
  const shown = document.getElementById("shown");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length && texts === null) texts = rows.map((row) => row.textContent.toLowerCase());
    let count = 0;
    rows.forEach((row, number) => {
      const fits = !state.value || (state.value === "+audio" ? row.querySelector("audio") !== null : row.dataset.state === state.value);
      row.hidden = !(fits && words.every((word) => texts[number].includes(word)));
      count += row.hidden ? 0 : 1;
    });
    shown.textContent = `${count.toLocaleString("en")} of ${rows.length.toLocaleString("en")} calls shown`;
  };
  search.addEventListener("input", filter);
  state.addEventListener("change", filter);
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
  }, true);
  document.getElementById("filters").hidden = false;
  filter();
})();
