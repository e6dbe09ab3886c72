// Switches between light and dark colours, and remembers the choice where `theme.js` reads it before the first paint.

/** Have `button` switch the colours. */
export function themeSwitch(button) {
  button.addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = isDark() ? "light" : "dark";
    try {
      localStorage.setItem("relight.theme", root.dataset.theme);
    } catch {
      // Not remembered then; it still switches.
    }
    nameSwitch(button);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => nameSwitch(button));
  nameSwitch(button);
}

function nameSwitch(button) {
  button.title = button.ariaLabel = isDark() ? "Switch to light colours" : "Switch to dark colours";
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}
