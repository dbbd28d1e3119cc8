"""Overrides, and what a sweep draws from for each, alike on all versions of Hydra.

Needs Hydra and lightsweep, no more: ``python tests/grammar_table.py`` prints what is otherwise, and ends with 1.
"""

import sys

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from lightsweep.sweeper.grammar import distribution_of

TABLE = {
    "a=1": "fixed",
    "a=1,2,3": "one of 1, 2, 3",
    "a=x,y": "one of 'x', 'y'",
    "a=choice(1,2)": "one of 1, 2",
    "a=choice(true,false)": "one of True, False",
    "a=choice(a,1,2.5,true)": "one of 'a', 1, 2.5, True",
    "a=choice([1,2],[3])": "one of '[1,2]', '[3]'",
    "a=choice({a:1},{b:2})": "one of '{a:1}', '{b:2}'",
    "a='x y',z": "one of \"'x y'\", 'z'",
    "a=1.0,2": "one of 1.0, 2",
    "a=range(3)": "int 0 to 2 by 1",
    "a=range(1,10)": "int 1 to 9 by 1",
    "a=range(1,10,2)": "int 1 to 9 by 2",
    "a=range(10,1,-3)": "int 4 to 10 by 3",
    "a=range(0,1,0.1)": "float 0.0 to 0.9 by 0.1",
    "a=range(0.1,0.5,0.1)": "float 0.1 to 0.4 by 0.1",
    "a=range(1,2,0.3)": "float 1.0 to 1.9 by 0.3",
    "a=range(1.0,5)": "float 1.0 to 4.0 by 1.0",
    "a=range(5,1.0,-0.5)": "float 1.5 to 5.0 by 0.5",
    "a=range(5,1)": "refused",
    "a=range(1,5,0)": "refused",
    "a=range(0,1,0.30000000000000004)": "one of 0.0, 0.30000000000000004, 0.6000000000000001, 0.9000000000000001",
    "a=range(1e-3,1e-2,1e-3)": "float 0.001 to 0.009 by 0.001",
    "a=shuffle(range(1,5))": "one of 1, 2, 3, 4",
    "a=shuffle(1,2,3)": "one of 1, 2, 3",
    "a=sort(3,1,2)": "one of 1, 2, 3",
    "a=sort(3,1,2,reverse=true)": "one of 3, 2, 1",
    "a=interval(0,1)": "float 0.0 to 1.0",
    "a=interval(0.0,1)": "float 0.0 to 1.0",
    "a=interval(1,10)": "float 1.0 to 10.0",
    "a=interval(1e-4,1e-1)": "float 0.0001 to 0.1",
    "a=tag(log,interval(1e-4,1e-1))": "float 0.0001 to 0.1 log",
    "a=tag(log,interval(1,1000))": "float 1.0 to 1000.0 log",
    "a=tag(x,log,interval(0.1,1))": "float 0.1 to 1.0 log",
    "a=tag(t,choice(1,2))": "one of 1, 2",
    "a=int(interval(1.2,9.7))": "int 1 to 9 by 1",
    "a=float(interval(1,9))": "float 1.0 to 9.0",
    "a=int(choice(1.5,2.5))": "one of 1, 2",
    "a=float(range(1,5))": "one of 1.0, 2.0, 3.0, 4.0",
    "a=int(range(1.5,5.5))": "one of 1, 2, 3, 4",
    "a=str(range(1,4))": "refused",
    "a=str([1,2])": "fixed",
    "a=bool(choice(0,1))": "one of False, True",
    "+a=choice(1,2)": "one of 1, 2",
    "++a=interval(0,1)": "float 0.0 to 1.0",
    "~a": "fixed",
    "~a=1": "fixed",
    "a@b=x,y": "one of 'x', 'y'",
    "a=null,1": "one of 'null', 1",
    "a=choice(null,1)": "refused",
    "a=interval(2,1)": "refused",
    "a=tag(log,interval(0,1))": "refused",
    "a=glob(*)": "refused",
    "a=1_000,2": "one of 1000, 2",
    "a=range(-3,3)": "int -3 to 2 by 1",
    "a=interval(-1,1)": "float -1.0 to 1.0",
    "a=range(0,10,3)": "int 0 to 9 by 3",
    "a=range(0.0,1.0,0.3)": "float 0.0 to 0.9 by 0.3",
    "a=inf,nan": "one of inf, nan",
    'a="x,y",z': "one of '\"x,y\"', 'z'",
    "a='it\\'s',b": "one of \"'it\\\\'s'\", 'b'",
    'a=choice("1",1)': "one of '1', 1",
    "a=a b,c": "one of 'a b', 'c'",
    "a=choice(a:b,c)": "one of 'a:b', 'c'",
    "a=x/y,z/w": "one of 'x/y', 'z/w'",
    "a=choice(1e-3,1e-2)": "one of 0.001, 0.01",
    "a=choice(-1,-2.5)": "one of -1, -2.5",
    "a=on,off": "one of 'on', 'off'",
    "a=TRUE,FALSE": "one of True, False",
    "a=choice(${b},1)": "one of '${b}', 1",
    "a=[1,2],[3,4]": "one of '[1,2]', '[3,4]'",
    "a={x:1,y:2},{x:3}": "one of '{x:1,y:2}', '{x:3}'",
    "a=choice([a,b],[c,{d:1}])": "one of '[a,b]', '[c,{d:1}]'",
    "a=choice([])": "one of '[]'",
    "a=range(0,1)": "int 0 to 0 by 1",
    "a=range(1,1)": "refused",
    "a=range(3,10,4)": "int 3 to 7 by 4",
    "a=range(-10,-1,3)": "int -10 to -4 by 3",
    "a=range(0,5,0.5)": "float 0.0 to 4.5 by 0.5",
    "a=range(0.5,0.1,-0.1)": "float 0.2 to 0.5 by 0.1",
    "a=range(1e-5,5e-5,1e-5)": "float 1e-05 to 4e-05 by 1e-05",
    "a=range(0,2,0.7)": "float 0.0 to 1.4 by 0.7",
    "a=range(1,4.0)": "float 1.0 to 3.0 by 1.0",
    "a=range(10)": "int 0 to 9 by 1",
    "a=range(2.5)": "float 0.0 to 2.0 by 1.0",
    "a=shuffle(range(0,1,0.25))": "one of 0.0, 0.25, 0.5, 0.75",
    "a=shuffle(a,b,c)": "one of 'a', 'b', 'c'",
    "a=shuffle([1,2,3])": "fixed",
    "a=sort(b,a,c)": "one of 'a', 'b', 'c'",
    "a=sort(range(10,1,-3))": "int 4 to 10 by 3",
    "a=sort([3,1,2])": "fixed",
    "a=sort(1,2,3,reverse=true)": "one of 3, 2, 1",
    "a=interval(1,1)": "float 1.0 to 1.0",
    "a=interval(0.1,0.1)": "float 0.1 to 0.1",
    "a=interval(-1.5,-0.5)": "float -1.5 to -0.5",
    "a=interval(1e-300,1e300)": "float 1e-300 to 1e+300",
    "a=int(interval(1,10))": "int 1 to 10 by 1",
    "a=int(interval(-3.7,3.7))": "int -3 to 3 by 1",
    "a=tag(log,int(interval(1,1000)))": "int 1 to 1000 log",
    "a=int(tag(log,interval(1,1000)))": "int 1 to 1000 log",
    "a=tag(log,int(interval(0,10)))": "refused",
    "a=float(range(0,3))": "one of 0.0, 1.0, 2.0",
    "a=str(choice(1,2))": "one of '1', '2'",
    "a=bool(choice(true,0))": "one of True, False",
    'a=int(choice("1","2"))': "one of 1, 2",
    "a=float(choice(1,2.5))": "one of 1.0, 2.5",
    "a=str(range(0,2))": "refused",
    "a=int(1.5)": "fixed",
    "a=tag(x,1)": "refused",
    "a=tag(log,range(1,10))": "int 1 to 9 by 1",
    "a=tag(a,b,choice(x,y))": "one of 'x', 'y'",
    "++a.b.c=choice(1,2)": "one of 1, 2",
    "+a/b=x,y": "one of 'x', 'y'",
    "a/b@c.d=x,y": "one of 'x', 'y'",
    "~a@b": "fixed",
    "a.0.b=range(1,3)": "int 1 to 2 by 1",
    "a=": "fixed",
    "a='',x": "one of \"''\", 'x'",
    "a=null": "fixed",
    "a=choice(a)": "one of 'a'",
    "a=1,": "refused",
    "a=,1": "refused",
    "a=choice()": "refused",
    "a=range()": "refused",
    "a=interval(1)": "refused",
    "a=interval(a,b)": "refused",
    "a=range(a,b)": "refused",
    "a=tag(log,interval(-1,1))": "refused",
    "a=interval(inf,1)": "refused",
    "a=range(1,inf)": "refused",
    "a=glob(x*)": "refused",
    "a=glob(*,exclude=y*)": "refused",
    "a=choice(glob(*))": "refused",
    "a=1e3,1e4": "one of 1000.0, 10000.0",
    "a=0x10,1": "one of '0x10', 1",
    "a=01,02": "one of '01', '02'",
    "a=1.,.5": "one of 1.0, 0.5",
    "a=nan": "fixed",
    "a=9007199254740993,1": "one of 9007199254740993, 1",
}
SINCE_1_4 = {  # Hydra 1.3 has no such functions, and no step below 1 between integers
    "a=extend_list(1,2)": "fixed",
    "a=int(range(0.5,3.5,0.5))": "one of 0, 1, 1, 2, 2, 3",
    "a=json_str(choice({a:1},{b:2}))": "one of '{\"a\": 1}', '{\"b\": 2}'",
}


def table() -> dict[str, str]:
    """The part for the version of Hydra that is installed."""
    return TABLE if hydra.__version__.startswith("1.3") else {**TABLE, **SINCE_1_4}


def drawn_from(line: str) -> str:
    """What a sweep draws from, in the words of the table."""
    try:
        return describe(distribution_of(OverridesParser.create().parse_override(line)))
    except Exception:
        return "refused"


def describe(distribution: BaseDistribution | None) -> str:
    if distribution is None:
        return "fixed"
    if isinstance(distribution, CategoricalDistribution):
        return f"one of {', '.join(map(repr, distribution.choices))}"
    kind = "int" if isinstance(distribution, IntDistribution) else "float"
    low, high, step, log = (getattr(distribution, name) for name in ("low", "high", "step", "log"))
    return f"{kind} {low} to {high}{f' by {step}' * (step is not None and not log)}{' log' * log}"


if __name__ == "__main__":
    wrong = {line: found for line, wanted in table().items() if (found := drawn_from(line)) != wanted}
    for line, found in wrong.items():
        print(f"{line}: {found}, not {table()[line]}")
    print(f"Hydra {hydra.__version__}: {len(table()) - len(wrong)} of {len(table())} overrides are right")
    sys.exit(bool(wrong))
