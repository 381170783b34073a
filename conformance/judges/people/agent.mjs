// The person without a browser (`user_agent.py`), for judges in JavaScript.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const program = fileURLToPath(new URL('user_agent.py', import.meta.url));
const run = promisify(execFile);

/** Opens an authorization URL, signs in, decides; the URL that the answer goes to. */
export async function visit(url, ...options) {
  try {
    const { stdout } = await run(process.env.PYTHON ?? 'python3', [program, `${url}`, ...options], { timeout: 60_000 });
    return new URL(stdout.trim());
  } catch (error) {
    throw new Error(error.stderr?.trim() || error.message);
  }
}
