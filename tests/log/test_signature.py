from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nurselog._errors import DecodingError, EncodingError, RegistrationError
from nurselog._log.codec import JsonCodec
from nurselog._log.signature import Signature, returns_of, signature_of

if TYPE_CHECKING:
    from nowhere import Thing

codec = JsonCodec()


@dataclass(frozen=True)
class Order:
    item: str
    count: int = 1


Positive = Annotated[int, msgspec.Meta(gt=0)]


async def buy(order: Order, /, shop: str, *extras: Order, limit: Positive = 10, **notes: int) -> list[Order]: ...


async def untyped(a, b=2, *c, **d):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201 - the point
    ...


async def hidden(first: int, thing: Thing) -> None: ...


async def lost(first: int) -> Thing: ...


class Shop:
    async def sell(self, order: Order) -> Order: ...

    @classmethod
    async def close(cls, at: int) -> None: ...

    async def __call__(self, order: Order) -> Order: ...


@functools.wraps(buy)
async def wrapped(*args: Any, **kwargs: Any) -> Any: ...


async def nothing() -> None: ...


def elsewhere(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function in one that knows nothing of this module's names."""
    scope: dict[str, Any] = {"functools": functools, "fn": fn}
    exec("@functools.wraps(fn)\nasync def wrapper(*args): return await fn(*args)", scope)
    wrapper: Callable[..., Any] = scope["wrapper"]
    return wrapper


def encode(signature: Signature, *args: object, **kwargs: object) -> bytes:
    return signature.encode_call(codec.encode, args, kwargs)


def decode(signature: Signature, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return signature.decode_call(codec.decode, data)


def test_a_call_is_an_object_of_its_parameters() -> None:
    signature = signature_of(buy)
    data = encode(signature, Order("tea"), "corner", Order("milk", 2), limit=3, hurry=1)
    assert msgspec.json.decode(data) == {
        "order": {"item": "tea", "count": 1},
        "shop": "corner",
        "extras": [{"item": "milk", "count": 2}],
        "limit": 3,
        "notes": {"hurry": 1},
    }
    assert decode(signature, data) == ((Order("tea"), "corner", Order("milk", 2)), {"limit": 3, "hurry": 1})
    assert (signature.name, signature.returns) == ("buy", list[Order])


def test_each_spelling_of_a_call_has_the_same_bytes() -> None:
    signature = signature_of(buy)
    spellings = [
        encode(signature, Order("tea"), "corner"),
        encode(signature, Order("tea"), shop="corner"),
        encode(signature, Order("tea"), limit=10, shop="corner"),
        encode(signature, Order("tea", 1), "corner", limit=10),
    ]
    assert len(set(spellings)) == 1
    assert encode(signature, Order("tea"), "corner", a=1, b=2) == encode(signature, Order("tea"), "corner", b=2, a=1)


def test_what_a_positional_parameter_is_called_is_free_for_others() -> None:
    signature = signature_of(buy)
    args, kwargs = decode(signature, encode(signature, Order("tea"), "corner", order=1, notes=2, extras=3))
    assert args == (Order("tea"), "corner")
    assert kwargs == {"limit": 10, "order": 1, "notes": 2, "extras": 3}


plain = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)


@given(st.lists(plain, min_size=1, max_size=4), st.dictionaries(st.sampled_from("xyz"), plain))
def test_a_call_comes_back(args: list[Any], kwargs: dict[str, Any]) -> None:
    signature = signature_of(untyped)
    data = encode(signature, *args, **kwargs)
    back = decode(signature, data)
    assert back == ((*args, *([2] if len(args) == 1 else [])), kwargs)
    assert encode(signature, *back[0], **back[1]) == data


def test_a_call_by_position() -> None:
    """It is an array where somebody called who does not have the function, nor the names of its parameters."""
    signature = signature_of(buy)
    tea, milk = {"item": "tea"}, {"item": "milk", "count": 2}
    assert decode(signature, codec.encode([tea, "corner"], Any)) == ((Order("tea"), "corner"), {})
    args, kwargs = decode(signature, codec.encode([tea, "corner", milk, tea], Any))
    assert (args, kwargs) == ((Order("tea"), "corner", Order("milk", 2), Order("tea")), {})
    assert decode(signature_of(nothing), b"[]") == ((), {})


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"[1]", r"buy\(\): missing a required"),
        (b'[{"item": "tea"}, 1]', r"Expected `str`, got `int` - at `\$\[1\]`"),
        (b'[{"item": "tea"}, "corner", {"item": 1}]', r"Expected `str`, got `int` - at `\$\[2\].item`"),
        (b"1", r"fit test_signature.buy\(...\)"),
        (b"[", r"fit test_signature.buy\(...\)"),
    ],
)
def test_a_call_by_position_that_does_not_fit(data: bytes, complaint: str) -> None:
    with pytest.raises(DecodingError, match=complaint):
        decode(signature_of(buy), data)


@pytest.mark.parametrize(
    ("args", "kwargs", "complaint"),
    [
        ((), {}, r"buy\(\): missing a required"),
        ((1, 2), {"shop": 3}, r"buy\(\): multiple values for argument 'shop'"),
    ],
)
def test_a_call_that_python_would_refuse(args: Any, kwargs: Any, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        signature_of(buy).encode_call(codec.encode, args, kwargs)


def test_an_argument_that_cannot_be_recorded_is_named() -> None:
    with pytest.raises(EncodingError, match=r"\$.shop \(a object\) cannot be recorded"):
        encode(signature_of(buy), Order("tea"), object())


def test_an_argument_that_does_not_fit_is_named_with_its_function() -> None:
    signature = signature_of(buy)
    with pytest.raises(DecodingError, match=r"fit test_signature.buy\(...\): Expected `int` >= 1 - at `\$.limit`"):
        decode(signature, encode(signature, Order("tea"), "corner", limit=0))


# -- code that changes under its log -------------------------------------------------------------


def versions() -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    async def old(item: str, count: int = 1) -> None: ...
    async def more(count: int = 7, *, gift: bool = False, item: str) -> None: ...
    async def fewer(item: str) -> None: ...
    async def needy(item: str, price: int, count: int = 1) -> None: ...

    return old, more, fewer, needy


def test_a_default_is_what_it_was_when_the_call_was_made() -> None:
    old, more, _, _ = versions()
    assert decode(signature_of(more), encode(signature_of(old), "tea")) == ((1,), {"gift": False, "item": "tea"})


def test_a_default_that_can_change_is_not_shared() -> None:
    default: list[int] = [1]

    async def collect(items: list[int] = default) -> None: ...

    signature = signature_of(collect)
    assert encode(signature) == b'{"items":[1]}'
    default.append(2)
    assert decode(signature, b"{}") == (([1, 2],), {})


def test_an_argument_is_never_dropped_in_silence() -> None:
    old, _, fewer, _ = versions()
    with pytest.raises(DecodingError, match="unknown field `count`"):
        decode(signature_of(fewer), encode(signature_of(old), "tea"))


def test_an_argument_is_never_made_up() -> None:
    old, _, _, needy = versions()
    with pytest.raises(DecodingError, match="missing required field `price`"):
        decode(signature_of(needy), encode(signature_of(old), "tea"))


# -- what has a signature ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "name", "returns", "parameters"),
    [
        (untyped, "untyped", Any, ["a", "b", "c", "d"]),
        (Shop().sell, "Shop.sell", Order, ["order"]),
        (Shop.close, "Shop.close", type(None), ["at"]),
        (Shop(), "Shop.__call__", Order, ["order"]),
        (wrapped, "buy", list[Order], ["order", "shop", "extras", "limit", "notes"]),
        (elsewhere(buy), "buy", list[Order], ["order", "shop", "extras", "limit", "notes"]),
        (functools.cache(Shop().sell), "Shop.sell", Order, ["order"]),
        (functools.partial(Shop().sell), "Shop.sell", Order, ["order"]),
        (functools.partial(functools.partial(buy, Order("x")), "y"), "buy", list[Order], ["extras", "limit", "notes"]),
        (functools.partial(buy, limit=3), "buy", list[Order], ["order", "shop", "extras", "limit", "notes"]),
    ],
    ids=range(10),
)
def test_signatures(fn: Any, name: str, returns: Any, parameters: list[str]) -> None:
    signature = signature_of(fn)
    assert (signature.name, signature.returns) == (name, returns)
    assert list(signature.call.__struct_fields__) == parameters
    assert returns_of(fn) == returns


def test_what_a_partial_binds_by_name_is_a_default() -> None:
    signature = signature_of(functools.partial(buy, limit=3))
    assert decode(signature, encode(signature, Order("tea"), "corner"))[1] == {"limit": 3}


def test_metadata_of_annotations_counts() -> None:
    async def count(n: Positive) -> Positive: ...

    assert returns_of(count) == Positive
    with pytest.raises(DecodingError, match=">= 1"):
        decode(signature_of(count), b'{"n":0}')


def test_an_annotation_for_type_checkers_only_names_its_parameter() -> None:
    with pytest.raises(RegistrationError, match="hidden: the annotation of its parameter 'thing' means no"):
        signature_of(hidden)
    with pytest.raises(
        RegistrationError, match="lost: the annotation of its result means nothing at run time: name 'Thing'"
    ) as caught:
        returns_of(lost)
    assert isinstance(caught.value.__cause__, NameError)


def test_parameters_of_a_step_need_no_meaning() -> None:
    assert returns_of(hidden) is type(None)


def test_an_annotation_that_is_no_expression() -> None:
    async def odd(x: int) -> None: ...

    odd.__annotations__["x"] = "int["
    with pytest.raises(RegistrationError, match="of its parameter 'x' means nothing"):
        signature_of(odd)


def test_type_parameters_mean_something_to_their_own_function() -> None:
    async def same(x: T) -> T: ...  # type: ignore[name-defined]  # noqa: F821 - as `def same[T]` has it

    same.__type_params__ = (TypeVar("T"),)
    assert encode(signature_of(same), [1]) == b'{"x":[1]}'


def test_what_has_no_signature() -> None:
    with pytest.raises(RegistrationError, match="max has no signature"):
        signature_of(max)
