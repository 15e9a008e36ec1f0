"""Contrast of all visible text: WCAG 2.2, success criterion 1.4.3."""

from __future__ import annotations

from typing import NamedTuple

from playwright.sync_api import Page

ENOUGH = 4.5
ENOUGH_FOR_LARGE_TEXT = 3.0

TEXTS = """
() => {
  const context = Object.assign(document.createElement("canvas"), {width: 1, height: 1})
    .getContext("2d", {willReadFrequently: true});
  const parse = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) =>
      value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    if (!element) return [255, 255, 255, 1];
    const rect = element.matches("g.box") && element.querySelector("rect");
    const colour = rect ? getComputedStyle(rect).fill : getComputedStyle(element).backgroundColor;
    const own = parse(colour);
    return own[3] === 1 ? own : over(own, ground(element.parentElement));
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility({visibilityProperty: true, opacityProperty: true})
      || element.closest("script, style, title, .unseen, .skip:not(:focus), :disabled")) continue;
    const style = getComputedStyle(element);
    const below = ground(element);
    const colour = over(parse(element.closest("svg") ? style.fill : style.color), below);
    const [light, dark] = [luminance(colour), luminance(below)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    found.push({text, ratio: (light + 0.05) / (dark + 0.05),
      large: size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700});
  }
  return found;
}
"""


class Text(NamedTuple):
    """A visible text, and the contrast to what is behind it: 1 (none) to 21."""

    text: str
    ratio: float
    large: bool

    @property
    def is_readable(self) -> bool:
        """Whether the contrast is enough."""
        return self.ratio >= (ENOUGH_FOR_LARGE_TEXT if self.large else ENOUGH)


def texts(page: Page) -> list[Text]:
    """All visible texts."""
    return [Text(**found) for found in page.evaluate(TEXTS)]
