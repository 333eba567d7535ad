"""The page of the service: plain HTML that works without JavaScript, and a little of it."""
