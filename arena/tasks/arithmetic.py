"""Exact arithmetic on expressions of + - * / and brackets: a parser of its own, nothing is ever executed."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import permutations, product

OPERATORS = "+-*/"
STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def apply(operator: str, left: int | Fraction, right: int | Fraction) -> Fraction | None:
    """The exact result; none for a division by zero."""
    if operator == "+":
        return Fraction(left + right)
    if operator == "-":
        return Fraction(left - right)
    if operator == "*":
        return Fraction(left * right)
    return Fraction(left) / right if right else None


class _Parser:
    """Recursive descent: sums of products of atoms; an atom is a number or a bracketed sum."""

    def __init__(self, text: str) -> None:
        self.text, self.place = text, 0
        self.numbers: list[int] = []

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def sum(self) -> Fraction:
        return self.joined("+-", self.product)

    def product(self) -> Fraction:
        return self.joined("*/", self.atom)

    def joined(self, operators: str, part: Callable[[], Fraction]) -> Fraction:
        value = part()
        while self.peek() and self.peek() in operators:
            operator = self.peek()
            self.place += 1
            result = apply(operator, value, part())
            if result is None:
                raise ValueError("division by zero")
            value = result
        return value

    def atom(self) -> Fraction:
        if self.peek() == "(":
            self.place += 1
            value = self.sum()
            if self.peek() != ")":
                raise ValueError(f"no closing bracket at {self.place}")
            self.place += 1
            return value
        digits = re.compile(r"[1-9]\d*", re.ASCII).match(self.text, self.place)
        if digits is None:
            raise ValueError(f"no number at {self.place}")
        self.place = digits.end()
        self.numbers.append(int(digits[0]))
        return Fraction(self.numbers[-1])


def evaluate(text: str) -> tuple[Fraction, list[int]]:
    """Exact value of an expression, and the numbers it uses, in order.

    Numbers are positive and without leading zeros; there is no sign before a number or a bracket.

    Raises:
        ValueError: not an expression, or a division by zero.
    """
    parser = _Parser(text)
    value = parser.sum()
    if parser.peek():
        raise ValueError(f"nothing may follow at {parser.place}")
    return value, parser.numbers


def is_solution(text: str, numbers: Sequence[int], target: int) -> bool:
    """Whether the expression's value is the target, each of the numbers being used at most once."""
    try:
        value, used = evaluate(text)
    except ValueError:
        return False
    return value == target and Counter(used) <= Counter(numbers)


def follow(chain: str, numbers: Sequence[int], target: int) -> tuple[bool, bool]:
    """Of steps such as `3+5=8,8*7=56`: whether they lead to the target, and whether all results are right.

    An operand is one of the numbers or an earlier result as it was written, each used at most once. Where
    a result is written wrong, what it should have been is carried on for the first question.
    """
    pool = [(n, Fraction(n)) for n in numbers]
    right, value = True, None
    for text in chain.split(","):
        match = STEP.fullmatch(text)
        if match is None:
            return False, False
        values: list[Fraction] = []
        for operand in (int(match[1]), int(match[3])):
            held = next((entry for entry in pool if entry[0] == operand), None)
            if held is None:
                return False, False
            pool.remove(held)
            values.append(held[1])
        value = apply(match[2], *values)
        if value is None:
            return False, False
        right &= apply(match[2], int(match[1]), int(match[3])) == int(match[4])
        pool.append((int(match[4]), value))
    return value == target, right


def expression_values(numbers: Sequence[int]) -> list[Fraction | None]:
    """Values of every expression of one, two or three of the three numbers, with repetitions.

    An expression is an ordered choice of the numbers, operators and a bracketing: 3 + 24 + 192 of them;
    none stands for a division by zero.
    """
    values: list[Fraction | None] = [Fraction(n) for n in numbers]
    values += [apply(o, a, b) for a, b in permutations(numbers, 2) for o in OPERATORS]
    for (a, b, c), o, p in product(permutations(numbers, 3), OPERATORS, OPERATORS):
        left, right = apply(o, a, b), apply(p, b, c)
        values.append(None if left is None else apply(p, left, c))
        values.append(None if right is None else apply(o, a, right))
    return values
