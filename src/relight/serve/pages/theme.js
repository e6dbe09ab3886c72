// Applies the remembered colour scheme before the first paint, and nothing else: the only script that blocks.
try {
  const theme = localStorage.getItem("relight.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage may be forbidden; the system's scheme then stands.
}
