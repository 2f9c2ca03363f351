"""What to do with a request: names to categories, addresses to subscribers, both to an action.

Tables only: this package reads mapped files that `control` has written, and knows neither packets nor configuration.
"""
