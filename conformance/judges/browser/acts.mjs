// What people do, one act after the other; each has a browser of its own.

import { cookies, passkey, secondFactor, signUp } from './account.mjs';
import { clientOfADocument, denial, errors, formPost, onward, passwordAndConsent } from './consent.mjs';
import { connectedApps, logout, signOut } from './leaving.mjs';
import { dark, framed, smallScreen, withoutScripts } from './looks.mjs';

export const acts = [
  passwordAndConsent, clientOfADocument, denial, onward, errors, formPost,
  cookies, signUp, passkey, secondFactor,
  connectedApps, signOut, logout,
  smallScreen, dark, withoutScripts, framed,
];
