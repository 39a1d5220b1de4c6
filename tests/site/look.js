// What is wrong with the page as it is shown: lists of words, a list for each kind of fault.
const article = document.querySelector('article') || document.createElement('article');  // Sphinx's own pages have none
const all = (selector) => [...article.querySelectorAll(selector)];
const start = (element) => element.tagName + ' ' + element.textContent.trim().slice(0, 40);
const scrolls = (element) => {
    for (let each = element; each && each !== article; each = each.parentElement)
        if (['auto', 'scroll'].includes(getComputedStyle(each).overflowX)) return true;
    return false;
};

const broken = [], range = document.createRange();
for (const code of all('table code')) {
    const texts = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
    while (texts.nextNode())
        for (const word of texts.currentNode.data.matchAll(/\w+/g)) {
            range.setStart(texts.currentNode, word.index);
            range.setEnd(texts.currentNode, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(word[0]);
        }
}

const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map(value => value / 255)
        .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
        const color = getComputedStyle(each).backgroundColor;
        if (color !== 'rgba(0, 0, 0, 0)' && color !== 'transparent') return color;
    }
    return 'rgb(255, 255, 255)';
};
const contrast = (element) => {
    const [a, b] = [light(getComputedStyle(element).color), light(ground(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};

return {
    broken,
    // Tables, code and equations scroll by themselves; nothing else may reach beyond the screen.
    beyond: all('h1, h2, p, dt, dd, li, img, table, pre, mjx-container')
        .filter(e => !e.closest('pre, table, .math') || e.matches('pre, table, mjx-container'))
        .filter(e => e.getBoundingClientRect().right > innerWidth && !(e.closest('pre, table, .math') && scrolls(e)))
        .concat([...document.querySelectorAll('.prev-next-area a')].filter(e => e.scrollWidth > e.clientWidth))
        .map(start),
    scrolls: document.scrollingElement.scrollWidth > innerWidth ? ['the page'] : [],
    misprint: all('[data-mml-node="merror"]').map(start),
    cut: all('pre').filter(e => e.scrollWidth > e.clientWidth).map(start),
    hidden: all('img').filter(e => !e.complete || !e.naturalWidth).map(e => e.src),
    // The thumbnails of the gallery have their titles beside them.
    nameless: all('img').filter(e => !(e.alt || '').trim() && !e.closest('.sphx-glr-thumbcontainer')).map(e => e.src),
    faint: all('h1, h2, p, dt, li, td, th').filter(e => e.textContent.trim() && contrast(e) < 4.5).map(start),
};
