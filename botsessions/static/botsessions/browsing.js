"use strict";

// A change names the state that this page shows: the API takes no other.
{
  const seen = document.currentScript.dataset.etag;
  if (seen) {
    jQuery.ajaxPrefilter((options, original, request) => {
      if (!options.crossDomain) request.setRequestHeader("If-Match", seen);
    });
  }
}
