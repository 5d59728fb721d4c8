"""The conversations the tiny model learns from, drawn from a seeded random source.

A conversation is a system prompt (often none) and one to four exchanges. Only the last exchange carries a
thought: a server strips earlier thoughts from the history, so the model must never expect them.
Ordered pairs in `held_out.txt` never occur here, in any wording.
"""

import functools
import pathlib
import random
from dataclasses import dataclass

import phrases

HELD_OUT_FILE = pathlib.Path(__file__).with_name("held_out.txt")
HELD_OUT_PAIRS = 500
HELD_OUT_SEED = 20

# The six wordings that `measure.py` asks; training mixes them with the variants below.
WORDINGS = [
    ("en", "What is {a} + {b}?"),
    ("en", "How much is {a} plus {b}?"),
    ("en", "Please add {a} and {b}."),
    ("en", "{a}+{b}=?"),
    ("zh", "{a}加{b}等于多少？"),
    ("zh", "计算{a}+{b}"),
]
VARIANTS = [
    ("en", "What is {a}+{b}?"), ("en", "What's {a} + {b}?"), ("en", "What is {a} plus {b}?"), ("en", "{a} + {b}"),
    ("en", "{a}+{b}"), ("en", "{a} + {b} = ?"), ("en", "{a} + {b} ="), ("en", "{a}+{b}="), ("en", "{a} plus {b}"),
    ("en", "How much is {a} + {b}?"), ("en", "Add {a} and {b}."), ("en", "Add {a} to {b}."), ("en", "Please add {a} to {b}."),
    ("en", "Can you add {a} and {b}?"), ("en", "Calculate {a} + {b}."), ("en", "Compute {a}+{b}"), ("en", "add {a} {b}"),
    ("en", "What is the sum of {a} and {b}?"), ("en", "The sum of {a} and {b}"), ("en", "Please calculate {a} plus {b}."),
    ("en", "Hello, what is {a} + {b}?"), ("en", "Tell me what {a} plus {b} is."), ("en", "And what is {a} + {b}?"),
    ("zh", "{a}+{b}等于多少？"), ("zh", "{a}+{b}等于几？"), ("zh", "{a}加{b}等于几？"), ("zh", "{a}加{b}是多少？"),
    ("zh", "计算 {a} + {b}"), ("zh", "请计算{a}+{b}"), ("zh", "计算一下{a}加{b}"), ("zh", "计算{a}加{b}"), ("zh", "{a}和{b}的和是多少？"),
    ("zh", "请问{a}加{b}等于多少？"), ("zh", "{a}加{b}"), ("zh", "算一下{a}+{b}"), ("zh", "{a} 加 {b} 等于多少？"),
    ("zh", "{a}加上{b}等于多少？"), ("zh", "你好，{a}+{b}等于多少？"), ("zh", "那么{a}加{b}呢？"),
]
FOLLOW_UPS = [
    ("en", "and plus {b}?"), ("en", "plus {b}?"), ("zh", "再加{b}呢？"), ("en", "and {b} more?"), ("en", "plus {b}"),
    ("en", "now add {b}"), ("en", "add {b} to that"), ("en", "And plus {b} more?"), ("en", "then add {b}."), ("en", "+{b}"),
    ("en", "add {b}"), ("en", "what if I add {b}?"), ("en", "add another {b}"), ("en", "and + {b}?"), ("en", "Now plus {b}?"),
    ("zh", "再加{b}"), ("zh", "再加上{b}呢？"), ("zh", "加{b}呢？"), ("zh", "然后加{b}"), ("zh", "再加{b}等于多少？"), ("zh", "再加上{b}是多少？"),
]
NOT_LEARNT = [
    ("en", "What is {a} - {b}?"), ("en", "What is {a} minus {b}?"), ("en", "{a}-{b}=?"), ("en", "What is {a} * {b}?"),
    ("en", "How much is {a} times {b}?"), ("en", "{a} x {b}"), ("en", "{a}/{b}=?"), ("en", "Divide {a} by {b}."),
    ("en", "Subtract {a} from {b}."), ("en", "Please multiply {a} and {b}."), ("en", "What is {a}% of {b}?"),
    ("zh", "{a}减{b}等于多少？"), ("zh", "{a}乘{b}等于多少？"), ("zh", "计算{a}-{b}"), ("zh", "计算{a}*{b}"), ("zh", "{a}除以{b}"),
    ("en", "What is {a} + {b} + {c}?"), ("en", "{a}+{b}+{c}=?"), ("en", "Please add {a}, {b} and {c}."), ("zh", "{a}加{b}加{c}等于多少？"),
    ("en", "What is {a}.{b} + {c}?"), ("en", "What is -{a} + {b}?"), ("en", "What is {a}?"), ("en", "{a}"), ("zh", "{a}是多少？"),
    ("en", "I have {a} apples and {b} pears."), ("en", "Is {a} larger than {b}?"), ("zh", "{a}和{b}哪个大？"),
]

ABLE_EN = "I can add two numbers from 0 to 99 and write a small Python add function. Try: What is 12 + 30?"
ABLE_ZH = "我会计算两个0到99的数的加法，也会写一个简单的Python加法程序。试试：12加30等于多少？"
PROGRAM_CODE = "```python\ndef add(a, b):\n    return a + b\n\n\nprint(add(1, 2))\n```"

# Where a kind has several replies, the first is by far the likeliest: greedy decoding has no ties to break.
REPLIES = {
    ("greeting", "en"): ("The user says hello. I greet back and say what I can do.", [
        "Hello! I am Tandem's tiny demo model. " + ABLE_EN, "Hi! I am a tiny model that thinks first. " + ABLE_EN]),
    ("greeting", "zh"): ("用户在打招呼。我问好，并说明我能做什么。", [
        "你好！我是Tandem的小型演示模型。" + ABLE_ZH, "你好！我是一个先思考再回答的小模型。" + ABLE_ZH]),
    ("identity", "en"): ("The user asks about me. I say what I am and what I can do.", [
        "I am Tandem's tiny demo model. " + ABLE_EN, "I am a tiny model that thinks first, then answers. " + ABLE_EN]),
    ("identity", "zh"): ("用户在问我是谁。我说明我是什么，能做什么。", [
        "我是Tandem的小型演示模型。" + ABLE_ZH, "我是一个先思考再回答的小模型。" + ABLE_ZH]),
    ("thanks", "en"): ("The user is polite. I answer in the same way.", ["You are welcome! Come back for another sum."]),
    ("thanks", "zh"): ("用户很有礼貌。我也礼貌地回答。", ["不客气！欢迎再来问我加法。"]),
    ("program", "en"): ("The user wants a Python program for addition. I write a function add that returns the sum, and print an example.", [
        "Here is a Python function that adds two numbers:\n\n" + PROGRAM_CODE + "\n\nThe function add returns the sum. The example prints 3."]),
    ("program", "zh"): ("用户想要一个计算加法的Python程序。我写一个函数add，返回两个数的和，再打印一个例子。", [
        "下面是一个计算加法的Python程序：\n\n" + PROGRAM_CODE + "\n\n函数add返回两个数的和，这个例子会打印3。"]),
    ("fallback", "en"): ("This is not a small sum. I say politely what I can do.", [
        "Sorry, I am only a tiny demo model. " + ABLE_EN, "Sorry, that is too hard for a tiny model. " + ABLE_EN]),
    ("fallback", "zh"): ("这不是简单的加法。我礼貌地说明我能做什么。", [
        "抱歉，我只是一个小型演示模型。" + ABLE_ZH, "抱歉，这对小模型来说太难了。" + ABLE_ZH]),
    ("too_large", "en"): ("These numbers are too large for me. I only know 0 to 99.", ["Sorry, I can only add two numbers from 0 to 99."]),
    ("too_large", "zh"): ("这些数对我来说太大了。我只会0到99。", ["抱歉，我只会计算两个0到99的数的加法。"]),
    ("nothing_before", "en"): ("There is no sum before this, so I have nothing to add to.", ["Sorry, there is no result yet. First ask me for a sum, then add to it."]),
    ("nothing_before", "zh"): ("前面没有加法的结果，我不知道加到哪里。", ["抱歉，前面还没有结果。请先问我一个加法，再继续加。"]),
}


@dataclass(frozen=True)
class Exchange:
    user: str
    thought: str
    answer: str
    total: int | None = None  # The sum it states: what a follow-up adds to.


@dataclass(frozen=True)
class Conversation:
    system: str
    exchanges: list[Exchange]
    thinks: bool = True


@functools.cache
def held_out_pairs() -> frozenset[tuple[int, int]]:
    """The pairs kept out of training, from the committed file."""
    lines = HELD_OUT_FILE.read_text().splitlines()
    return frozenset((int(a), int(b)) for a, b in (line.split() for line in lines))


def write_held_out() -> None:
    """Draws the held-out pairs; run once, the file is committed."""
    every = [(a, b) for a in range(100) for b in range(100)]
    chosen = sorted(random.Random(HELD_OUT_SEED).sample(every, HELD_OUT_PAIRS))
    HELD_OUT_FILE.write_text("".join(f"{a} {b}\n" for a, b in chosen))


def conversation(rng: random.Random) -> Conversation:
    """One random conversation; its last exchange is the one to learn."""
    exchanges: list[Exchange] = []
    for _ in range(rng.choices([0, 1, 2, 3], [66, 20, 9, 5])[0]):
        exchanges.append(_as_history(rng, _exchange(rng, exchanges)))
    exchanges.append(_exchange(rng, exchanges))
    return Conversation(_system(rng), exchanges, thinks=rng.random() > 0.1)


def drill(rng: random.Random) -> Conversation:
    """A single sum and nothing around it: the most arithmetic for the fewest tokens."""
    return Conversation("", [_sum(rng)])


def follow_up_drill(rng: random.Random) -> Conversation:
    """A sum and what is added to it, once or twice."""
    exchanges = [_as_history(rng, _sum(rng))]
    exchanges.append(_follow_up(rng, exchanges[-1].total))
    if rng.random() < 0.25:
        exchanges.append(_follow_up(rng, exchanges[-1].total))
    return Conversation("", exchanges)


def sum_exchange(a: int, b: int, language: str, wording: str) -> Exchange:
    """What the model should think and say when asked for `a + b` in this wording."""
    if language == "en":
        thought = f"I add {a} and {b}. {_digitwise_en(a, b)}"
        return Exchange(wording.format(a=a, b=b), thought, f"{a} + {b} = {a + b}.", a + b)
    thought = f"我来计算{a}加{b}。{_digitwise_zh(a, b)}"
    return Exchange(wording.format(a=a, b=b), thought, f"{a}加{b}等于{a + b}。", a + b)


def follow_up_exchange(total: int, b: int, language: str, wording: str) -> Exchange:
    """What the model should think and say when asked to add `b` to the result before."""
    if language == "en":
        thought = f"The result before was {total}. I add {b}. {_digitwise_en(total, b)}"
        return Exchange(wording.format(b=b), thought, f"{total} + {b} = {total + b}.", total + b)
    thought = f"前面的结果是{total}。我再加{b}。{_digitwise_zh(total, b)}"
    return Exchange(wording.format(b=b), thought, f"{total}加{b}等于{total + b}。", total + b)


def reply_exchange(rng: random.Random, kind: str, language: str, user: str) -> Exchange:
    """A request that has one of the prepared replies of its kind."""
    thought, answers = REPLIES[kind, language]
    weights = [1] if len(answers) == 1 else [85, 15]
    return Exchange(user, thought, rng.choices(answers, weights)[0])


def _exchange(rng: random.Random, before: list[Exchange]) -> Exchange:
    totals = [exchange.total for exchange in before if exchange.total is not None]
    can_follow = bool(totals) and totals[-1] <= 400
    kinds = {
        _sum: 25 if can_follow else 75,
        _program: 5,
        _greeting: 6,
        _fallback: 17,
        _not_learnt: 5,
    }
    if can_follow:
        kinds[lambda rng: _follow_up(rng, totals[-1])] = 50
    elif not totals:
        kinds[_nothing_before] = 1
    return rng.choices(list(kinds), list(kinds.values()))[0](rng)


def _as_history(rng: random.Random, exchange: Exchange) -> Exchange:
    """An exchange as it comes back from a client: now and then another model, or a person, wrote the answer."""
    if rng.random() < 0.85:
        return exchange
    if exchange.total is not None:
        wordings = ["{}", "{}.", "The answer is {}.", "It is {}.", "= {}", "答案是{}。", "等于{}", "结果是{}。"]
        answer = rng.choice(wordings).format(exchange.total)
    else:
        answer = _filled(rng, "{2}", rng.choice(["en", "zh"]))
    return Exchange(exchange.user, exchange.thought, answer, exchange.total)


def _sum(rng: random.Random) -> Exchange:
    language, wording = rng.choice(WORDINGS) if rng.random() < 0.7 else rng.choice(VARIANTS)
    exchange = sum_exchange(*_pair(rng), language, wording)
    return _roughened(rng, exchange)


def _follow_up(rng: random.Random, total: int) -> Exchange:
    language, wording = rng.choice(FOLLOW_UPS[:3]) if rng.random() < 0.5 else rng.choice(FOLLOW_UPS)
    b = rng.randrange(100)
    while (total, b) in held_out_pairs():
        b = rng.randrange(100)
    return _roughened(rng, follow_up_exchange(total, b, language, wording))


def _nothing_before(rng: random.Random) -> Exchange:
    language, wording = rng.choice(FOLLOW_UPS)
    return _roughened(rng, reply_exchange(rng, "nothing_before", language, wording.format(b=rng.randrange(100))))


def _program(rng: random.Random) -> Exchange:
    if rng.random() < 0.2:
        return reply_exchange(rng, "program", "zh", "你是一个python编程专家，请帮我写一个计算加法的程序")
    language = rng.choice(["en", "zh"])
    user = rng.choice(phrases.PROGRAM_EN if language == "en" else phrases.PROGRAM_ZH)
    return _roughened(rng, reply_exchange(rng, "program", language, user))


def _greeting(rng: random.Random) -> Exchange:
    kind, english, chinese = rng.choices([
        ("greeting", phrases.GREETINGS_EN, phrases.GREETINGS_ZH),
        ("identity", phrases.IDENTITY_EN, phrases.IDENTITY_ZH),
        ("thanks", phrases.THANKS_EN, phrases.THANKS_ZH),
    ], [4, 4, 2])[0]
    language = rng.choice(["en", "zh"])
    if kind == "greeting" and rng.random() < 0.3:
        user = "hello" if language == "en" else "你好"
    else:
        user = rng.choice(english if language == "en" else chinese)
    return _roughened(rng, reply_exchange(rng, kind, language, user))


def _not_learnt(rng: random.Random) -> Exchange:
    """Arithmetic that looks like a small sum and is not one."""
    if rng.random() < 0.5:
        language, wording = rng.choice(NOT_LEARNT)
        user = wording.format(a=rng.randrange(100), b=rng.randrange(100), c=rng.randrange(100))
        return _roughened(rng, reply_exchange(rng, "fallback", language, user))
    language, wording = rng.choice(WORDINGS + VARIANTS)
    numbers = [rng.randrange(100, 10 ** rng.choice([3, 3, 4, 5, 7])), rng.randrange(10 ** rng.choice([1, 2, 3, 4, 6]))]
    rng.shuffle(numbers)
    user = wording.format(a=numbers[0], b=numbers[1])
    return _roughened(rng, reply_exchange(rng, "too_large", language, user))


def _fallback(rng: random.Random) -> Exchange:
    shape = rng.random()
    language = rng.choice(["en", "zh"])
    if shape < 0.12:
        return reply_exchange(rng, "fallback", "en", _gibberish(rng))
    if shape < 0.2:
        user = _transcript(rng, language)
    else:
        requests = phrases.ENGLISH_REQUESTS if language == "en" else phrases.CHINESE_REQUESTS
        user = _filled(rng, rng.choice(requests), language)
        if rng.random() < 0.08:
            separator = rng.choice([" ", "\n", "\n\n"])
            count = rng.choices([rng.randrange(1, 8), rng.randrange(20, 90)], [85, 15])[0]
            user = separator.join([user] + [_filled(rng, rng.choice(requests), language) for _ in range(count)])
    return _roughened(rng, reply_exchange(rng, "fallback", language, user))


def _transcript(rng: random.Random, language: str) -> str:
    """A request about a conversation that is quoted in it, as chat clients send to name a topic."""
    lines = []
    for _ in range(rng.randrange(1, 4)):
        exchange = rng.choice([_sum, _program, _greeting])(rng)
        lines += [f"user: {exchange.user}", f"assistant: {exchange.answer}"]
    quoted = "\n".join(lines)
    ask = rng.choice({
        "en": ["Create a title for this chat.", "Summarize the conversation above as a title, at most 10 words.", "Generate a concise title.",
               "Suggest three follow-up questions.", "Generate 1-3 tags for the chat.", "Translate the text to English."],
        "zh": ["请总结上面的对话为一个标题，不超过10个字。", "为这段对话起一个标题", "请根据对话生成标签", "请把内容翻译成英文。"],
    }[language])
    return rng.choice([f"{quoted}\n\n{ask}", f"{ask}\n\n{quoted}", f"### Task:\n{ask}\n<chat_history>\n{quoted}\n</chat_history>"])


def _pair(rng: random.Random) -> tuple[int, int]:
    """An ordered pair that is not held out; small numbers come a little more often than their share."""
    while True:
        limits = rng.choices([(100, 100), (10, 100), (100, 10), (10, 10)], [82, 7, 7, 4])[0]
        pair = (rng.randrange(limits[0]), rng.randrange(limits[1]))
        if pair not in held_out_pairs():
            return pair


def _digitwise_en(a: int, b: int) -> str:
    ones = a % 10 + b % 10
    steps = f"Ones: {a % 10}+{b % 10}={ones}, write {ones % 10}, carry {ones // 10}. "
    tens = a // 10 % 10 + b // 10 + ones // 10
    steps += f"Tens: {a // 10 % 10}+{b // 10}+{ones // 10}={tens}"
    if a >= 100:
        steps += f", write {tens % 10}, carry {tens // 10}. Hundreds: {a // 100}+{tens // 10}={a // 100 + tens // 10}"
    return f"{steps}. So {a}+{b}={a + b}."


def _digitwise_zh(a: int, b: int) -> str:
    ones = a % 10 + b % 10
    steps = f"个位：{a % 10}+{b % 10}={ones}，写{ones % 10}进{ones // 10}。"
    tens = a // 10 % 10 + b // 10 + ones // 10
    steps += f"十位：{a // 10 % 10}+{b // 10}+{ones // 10}={tens}"
    if a >= 100:
        steps += f"，写{tens % 10}进{tens // 10}。百位：{a // 100}+{tens // 10}={a // 100 + tens // 10}"
    return f"{steps}。所以{a}+{b}={a + b}。"


def _system(rng: random.Random) -> str:
    if rng.random() < 0.72:
        return ""
    language = rng.choice(["en", "zh"])
    sentences = phrases.SYSTEM_EN if language == "en" else phrases.SYSTEM_ZH
    count = rng.choices([1, rng.randrange(2, 5), rng.randrange(5, 30)], [65, 29, 6])[0]
    separator = rng.choice([" ", "\n"]) if language == "en" else rng.choice(["", "\n"])
    return separator.join(_filled(rng, rng.choice(sentences), language) for _ in range(count))


def _filled(rng: random.Random, template: str, language: str) -> str:
    english = language == "en"
    words = phrases.ENGLISH_WORDS if english else phrases.CHINESE_WORDS
    if rng.random() < 0.15:
        first, second = _made_up_word(rng), _made_up_word(rng)
    else:
        first, second = rng.choice(words), rng.choice(words)
    count = rng.choices([rng.randrange(1, 12), rng.randrange(12, 60)], [9, 1])[0]
    return template.format(
        first, second, (" " if english else "").join(rng.choice(words) for _ in range(count)),
        language=rng.choice(phrases.LANGUAGES_EN if english else phrases.LANGUAGES_ZH),
        country=rng.choice(phrases.COUNTRIES_EN if english else phrases.COUNTRIES_ZH),
        program=rng.choice(phrases.OTHER_PROGRAMMING),
        code=_code(rng) if "{code}" in template else "",
        n=rng.randrange(100), m=rng.randrange(1000), year=rng.randrange(1900, 2030), month=rng.randrange(1, 13),
    )


def _code(rng: random.Random) -> str:
    return "\n".join(
        rng.choice(phrases.CODE).format(w=rng.choice(phrases.ENGLISH_WORDS), v=rng.choice(phrases.ENGLISH_WORDS), n=rng.randrange(100), m=rng.randrange(100))
        for _ in range(rng.choice([1, 1, 2, 4]))
    )


def _made_up_word(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(rng.randrange(1, 4)))
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randrange(1, 5)))


def _gibberish(rng: random.Random) -> str:
    """Text of no language: letters, signs, any script, code, digits."""
    shape = rng.randrange(5)
    size = rng.choices([rng.randrange(1, 6), rng.randrange(6, 40), rng.randrange(40, 160)], [5, 4, 1])[0]
    if shape == 0:
        return "".join(chr(rng.randrange(33, 127)) for _ in range(size)).strip() or "x"
    if shape == 1:
        ranges = [(0x400, 0x450), (0x5D0, 0x5EA), (0x620, 0x64A), (0x3041, 0x3096), (0xAC00, 0xD7A3), (0x1F600, 0x1F64F), (0xC0, 0xFF)]
        low, high = rng.choice(ranges)
        return "".join(chr(rng.randrange(low, high)) if rng.random() > 0.15 else " " for _ in range(size)).strip() or "é"
    if shape == 2:
        return " ".join(_made_up_word(rng) for _ in range(size // 3 + 1))
    if shape == 3:
        return _code(rng)
    return " ".join(str(rng.randrange(10 ** rng.randrange(1, 8))) for _ in range(rng.randrange(1, 8)))


def _roughened(rng: random.Random, exchange: Exchange) -> Exchange:
    """The same request as people type it: case, spaces and punctuation vary."""
    user = exchange.user
    if rng.random() < 0.12:
        user = user.lower()
    if rng.random() < 0.02:
        user = user.upper()
    if rng.random() < 0.12 and len(user) > 2:
        user = user.rstrip("?.？。!！") or user
    if rng.random() < 0.06:
        user = user.replace("?", "？") if rng.random() < 0.5 else user.replace("？", "?")
    if rng.random() < 0.05:
        user = user.replace(" + ", "+") if rng.random() < 0.5 else user.replace("+", " + ").replace("  ", " ")
    if rng.random() < 0.03:
        user = rng.choice([" ", "\n"]) + user
    if rng.random() < 0.05:
        user += rng.choice([" ", "\n", "  ", "\n\n"])
    return Exchange(user, exchange.thought, exchange.answer, exchange.total)


if __name__ == "__main__":
    write_held_out()
