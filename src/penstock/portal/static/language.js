// The language is the server's to choose, and to remember: the page is asked for again in the other one.

import { find } from "./dom.js";

find("#language").addEventListener("change", (event) => {
  const here = new URL(location.href);
  here.searchParams.set("lang", event.target.value);
  location.assign(here);
});
