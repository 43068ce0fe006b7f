"""What type checkers see of the package itself."""

from typing import assert_type

import holdfast

assert_type(holdfast.__version__, str)
