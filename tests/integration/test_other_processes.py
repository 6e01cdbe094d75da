"""What only a new interpreter can show: what an import loads, and what means the same in it."""

import pickle
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from hftray.core.orders import Leg, order_reference
from hftray.strategies.plugins import load_plugins, read_plugins
from hftray.strategies.registry import forget, make_voters

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.M | re.S)[0]

PANDAS_STAYS_OUT = """
import sys
import hftray.strategies.ensemble, hftray.core.patterns
assert "pandas" not in sys.modules and "polars" not in sys.modules, "loaded for nothing"
import pandas
assert pandas.Series([1]).sum() == 1
"""

PANDAS_STAYS_IN = """
import sys, numpy, pandas, talib
from hftray.core import talib as ours
assert sys.modules["pandas"] is pandas
assert hasattr(talib.SMA, "__wrapped__") and not hasattr(ours.SMA, "__wrapped__")
assert ours.SMA(numpy.arange(6.0)[1:5], 2).tolist()[1:] == [1.5, 2.5, 3.5]
assert talib.SMA(pandas.Series([1.0, 3.0]), 2).iloc[-1] == 2.0
"""


def said(program: str, given: bytes = b"") -> str:
    """What the program prints, having ended well."""
    run = subprocess.run(
        [sys.executable, "-c", program], input=given, capture_output=True, timeout=60, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout.decode().strip()


@pytest.mark.parametrize("program", [PANDAS_STAYS_OUT, PANDAS_STAYS_IN])
def test_talib_neither_loads_pandas_nor_disturbs_it(program: str) -> None:
    said(program)


def test_numba_is_not_loaded_before_a_kernel_is_needed() -> None:
    """Neither by an import, nor by a backtest that is played once."""
    said(
        "import sys; import hftray.cli, hftray.backtest.runner, hftray.backtest.play; "
        "import hftray.actors.symbol; sys.exit('numba' in sys.modules)"
    )


def test_the_same_step_has_the_same_reference() -> None:
    """No hash seed, no state: a restarted actor finds the order of the one that died."""
    told = said(
        "from datetime import date; from hftray.core.orders import Leg, order_reference; "
        "print(order_reference(7, date(2026, 6, 1), 'INFY', Leg.EXIT, 3))"
    )
    assert told == order_reference(7, date(2026, 6, 1), "INFY", Leg.EXIT, 3)


def test_a_strategys_file_reaches_a_process_that_cannot_read_it(tmp_path: Path) -> None:
    example = tmp_path / "donchian.py"
    example.write_text(EXAMPLE, encoding="utf-8")
    files = read_plugins([example])
    try:
        load_plugins(files)
        (voter,) = make_voters("donchian", {})
        sent = pickle.dumps((files, pickle.dumps(voter)))
    finally:
        forget({"donchian"})
    example.unlink()
    told = said(
        "import pickle, sys\n"
        "from hftray.strategies.plugins import load_plugins\n"
        "files, voter = pickle.loads(sys.stdin.buffer.read())\n"
        "load_plugins(files)\n"
        "print(pickle.loads(voter).parameters.period)\n",
        sent,
    )
    assert told == "75"
