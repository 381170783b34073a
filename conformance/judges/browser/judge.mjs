// People at Writ's pages, in a real browser: what they see, what comes of it, and that nothing is wrong with any page.

import { Judge, scene } from '../judging.mjs';
import { launch, listener } from '../people/browser.mjs';
import { acts } from './acts.mjs';

const judge = new Judge('browser');
const stage = scene();
const browser = await launch(stage);
judge.note(`Chromium ${browser.version()}`);
const callback = await listener(stage.parties['web-app'].port);

for (const act of acts) {
  const { name } = act;
  console.log(`-- ${name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)}`);
  try {
    await act({ judge, stage, browser, callback });
  } catch (error) {
    const at = browser.contexts().flatMap((context) => context.pages()).map((page) => page.url().slice(0, 100));
    judge.check(`${name} came to its end`, false, `${error.message} at ${at}`.replaceAll('\n', ' | ').slice(0, 700));
  }
  for (const context of browser.contexts()) await context.close();
}

await browser.close();
callback.close();
judge.note(`pictures are in ${stage.directory}/screenshots`);
judge.finish();
