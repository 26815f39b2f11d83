// Only a convenience: one candidate can be pointed out in all charts and tables.
(() => {
  const box = document.getElementById("highlight");
  const choice = box.querySelector("select");
  const all = [...document.querySelectorAll("[data-candidate]")];
  const names = [...new Set(all.map((element) => element.dataset.candidate))];
  for (const name of ["nobody", ...names]) choice.add(new Option(name, name));
  choice.addEventListener("change", () => {
    const name = choice.selectedIndex > 0 ? choice.value : null;
    document.body.classList.toggle("picking", name !== null);
    for (const element of all) element.classList.toggle("picked", element.dataset.candidate === name);
  });
  box.hidden = false;
})();
