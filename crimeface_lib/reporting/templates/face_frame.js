const buttons = [...document.querySelectorAll("nav button")];
const show = id => {
  const meshes = K3DInstance.getWorld().ObjectsListJson;
  document.querySelectorAll("nav [data-id]").forEach(part => {
    const on = part.dataset.id === id;
    if (part.tagName === "P") { part.hidden = !on; return; }
    part.setAttribute("aria-pressed", on);
    const mesh = meshes[part.dataset.id];
    if (mesh.visible === on) return;
    mesh.visible = on;
    K3DInstance.reload(mesh, null, true).then(() => K3DInstance.render());
  });
};
buttons.forEach(button => button.addEventListener("click", () => show(button.dataset.id)));
if (buttons.length) show(buttons[0].dataset.id);
