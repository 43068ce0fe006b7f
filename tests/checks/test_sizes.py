from checks.sizes import findings


def texts(source: str, *, contract: bool = False) -> list[str]:
    return [finding.text for finding in findings(source, contract=contract)]


def function_of(lines: int, docstring: str = "") -> str:
    return "def f():\n" + docstring + "    x = 1\n" * (lines - 1)


def test_a_module_at_its_limit_passes() -> None:
    assert texts("x = 1\n" * 500) == []


def test_a_module_above_its_limit_is_named() -> None:
    [found] = findings("x = 1\n" * 501)
    assert found.line == 501
    assert "501 lines" in found.text


def test_the_contract_has_a_smaller_limit() -> None:
    assert texts("x = 1\n" * 300, contract=True) == []
    assert "limit is 300" in texts("x = 1\n" * 301, contract=True)[0]


def test_a_function_above_its_limit_is_named() -> None:
    assert texts(function_of(50)) == []
    assert "f has 51 lines" in texts(function_of(51))[0]


def test_a_docstring_does_not_count_as_lines_of_a_function() -> None:
    assert texts(function_of(50, docstring='    """One.\n\n    Two.\n    """\n')) == []


def test_a_fourth_block_inside_a_function_is_too_deep() -> None:
    three = "def f():\n if a:\n  for b in c:\n   with d:\n    e()\n"
    assert texts(three) == []
    [found] = findings(three + "    while g:\n     h()\n")
    assert found.line == 6
    assert "nests deeper" in found.text


def test_an_elif_does_not_nest() -> None:
    arms = "".join(f" elif a == {n}:\n  b()\n" for n in range(8))
    assert texts(f"def f():\n if a:\n  b()\n{arms}") == []


def test_an_if_inside_an_else_nests() -> None:
    three = "def f():\n if a:\n  b()\n else:\n  if c:\n   d()\n  else:\n   if e:\n    f()\n"
    fourth = "   else:\n    if g:\n     h()\n"
    assert texts(three) == []
    assert [finding.line for finding in findings(three + fourth)] == [11]


def test_blocks_in_except_and_case_arms_count() -> None:
    inner = "   if a:\n    if b:\n     if c:\n      d()\n"
    assert len(findings(f"def f():\n try:\n  x()\n except E:\n  if z:\n{inner}")) == 1
    assert len(findings(f"def f():\n match x:\n  case 1:\n{inner}")) == 1


def test_a_function_inside_a_function_starts_again_at_nought() -> None:
    assert texts("def f():\n if a:\n  if b:\n   def g():\n    if c:\n     if d:\n      e()\n") == []


def test_self_and_cls_are_not_parameters() -> None:
    assert texts("class A:\n def f(self, a, b, c, d, *e, f, **g): ...\n") == []
    assert "has 8 parameters" in texts("def f(a, b, c, d, *e, f, g, **h): ...")[0]


def test_overloads_and_private_methods_are_not_more_public_methods() -> None:
    methods = "".join(f" def m{n}(self): ...\n" for n in range(15))
    assert texts(f"class A:\n{methods} def m1(self): ...\n def _p(self): ...\n") == []
    assert "16 public methods" in texts(f"class A:\n{methods} def one_more(self): ...\n")[0]
