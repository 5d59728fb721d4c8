"""Byte-level BPE with DeepSeek's control tokens, and the prompt as a server renders it."""

import json
from dataclasses import dataclass

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from corpus import Conversation

# The split that GGUF readers apply under `tokenizer.ggml.pre = deepseek-r1-qwen`: digits stand alone.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

END, USER, ASSISTANT, BEGIN = "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>"
THINK, END_THINK = "<think>", "</think>"

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4

# Same spelling, order and types as the tail of DeepSeek-R1-Distill-Qwen's vocabulary.
ADDED_TOKENS = [
    (END, CONTROL), (USER, CONTROL), (ASSISTANT, CONTROL), (BEGIN, CONTROL), ("<|EOT|>", CONTROL),
    (THINK, USER_DEFINED), (END_THINK, USER_DEFINED),
    ("<|quad_start|>", CONTROL), ("<|quad_end|>", CONTROL), ("<|vision_start|>", CONTROL), ("<|vision_end|>", CONTROL),
    ("<|vision_pad|>", CONTROL), ("<|image_pad|>", CONTROL), ("<|video_pad|>", CONTROL),
    ("<tool_call>", USER_DEFINED), ("</tool_call>", USER_DEFINED),
    ("<|fim_prefix|>", CONTROL), ("<|fim_middle|>", CONTROL), ("<|fim_suffix|>", CONTROL), ("<|fim_pad|>", CONTROL),
    ("<|repo_name|>", CONTROL), ("<|file_sep|>", CONTROL),
]


@dataclass(frozen=True)
class Example:
    ids: list[int]
    target_start: int  # Everything from here on is what the model has to say.


class Vocabulary:
    """Token ids as the GGUF file numbers them: BPE tokens first, then the added ones."""

    def __init__(self, bpe: Tokenizer):
        self.bpe = bpe
        by_id = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
        self.tokens = [token for token, _ in by_id] + [token for token, _ in ADDED_TOKENS]
        self.types = [NORMAL] * len(by_id) + [kind for _, kind in ADDED_TOKENS]
        self.added = {token: len(by_id) + index for index, (token, _) in enumerate(ADDED_TOKENS)}
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def trained(cls, texts: list[str], size: int) -> "Vocabulary":
        """Learns the merges from `texts`; `size` counts the added tokens too."""
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - len(ADDED_TOKENS), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @classmethod
    def from_json(cls, text: str) -> "Vocabulary":
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        return self.bpe.to_str()

    def merges(self) -> list[str]:
        """Pairs in the order in which they apply, as GGUF spells them."""
        return [" ".join(pair) for pair in json.loads(self.to_json())["model"]["merges"]]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        """Plain text only: a control token spelled out in it stays text."""
        if text not in self._cache:
            if len(self._cache) > 50_000:
                self._cache.clear()
            self._cache[text] = self.bpe.encode(text).ids
        return self._cache[text]

    def decode(self, ids: list[int]) -> str:
        """Text with the added tokens spelled out."""
        text, plain = "", []
        for token in ids:
            if token < len(self.tokens) - len(ADDED_TOKENS):
                plain.append(token)
            else:
                text, plain = text + self.bpe.decode(plain) + self.tokens[token], []
        return text + self.bpe.decode(plain)

    def prompt(self, conversation: Conversation) -> list[int]:
        """Everything up to the model's first own token; the last exchange's reply is left out."""
        ids = [self.added[BEGIN], *self.encode(conversation.system)]
        for exchange in conversation.exchanges[:-1]:
            ids += [self.added[USER], *self.encode(exchange.user)]
            ids += [self.added[ASSISTANT], *self.encode(exchange.answer), self.added[END]]
        ids += [self.added[USER], *self.encode(conversation.exchanges[-1].user), self.added[ASSISTANT], self.added[THINK]]
        if conversation.thinks:
            return ids + self.encode("\n")
        return ids + self.encode("\n\n") + [self.added[END_THINK]] + self.encode("\n\n")

    def example(self, conversation: Conversation) -> Example:
        """Prompt and reply of the last exchange."""
        prompt = self.prompt(conversation)
        last = conversation.exchanges[-1]
        reply = self.encode(last.answer) + [self.added[END]]
        if conversation.thinks:
            reply = self.encode(last.thought + "\n") + [self.added[END_THINK]] + self.encode("\n\n") + reply
        return Example(prompt + reply, len(prompt))


def plain_texts(conversation: Conversation) -> list[str]:
    """The stretches of ordinary text in a conversation, as the merges should see them."""
    last = conversation.exchanges[-1]
    texts = [conversation.system, "\n\n", last.thought + "\n"]
    for exchange in conversation.exchanges:
        texts += [exchange.user, exchange.answer]
    return texts
