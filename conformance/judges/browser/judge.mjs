// People at Writ's pages, in a real browser: what they see, what comes of it, and that nothing is wrong with any page.

import { Judge, scene } from '../judging.mjs';
import { launch, listener } from '../people/browser.mjs';
import { acts } from './acts.mjs';

const judge = new Judge('browser');
const stage = scene();
const browser = await launch();
judge.note(`Chromium ${browser.version()}`);
const callback = await listener(stage.parties['web-app'].port);

for (const act of acts) {
  const { name } = act;
  console.log(`-- ${name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`);
  try {
    await act({ judge, stage, browser, callback });
  } catch (error) {
    judge.check(`${name} came to its end`, false, `${error.message}`.split('\n').slice(0, 6).join(' | ').slice(0, 600));
  }
  for (const context of browser.contexts()) {
    const page = context.pages()[0];
    if (page) judge.note(`left at ${page.url().slice(0, 100)}`);
    await context.close();
  }
}

await browser.close();
callback.close();
judge.note(`pictures are in ${stage.directory}/screenshots`);
judge.finish();
