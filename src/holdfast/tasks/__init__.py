"""Functions as jobs: declared once, enqueued with their own arguments, waited for by who sent them."""
