/** How often a picture is shown while it is made, at most: once for each step. */
export const mostPreviews = 100

/** Up to so many are shown whenever they are due; with more, a preview that comes soon after another is left out. */
export const promptPreviews = 3
