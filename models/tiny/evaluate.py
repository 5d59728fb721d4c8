"""What the trained model gets right, on the weights that the file holds and with int8 activations."""

import torch

from corpus import Conversation, Exchange, WORDINGS, follow_up_exchange, held_out_pairs, sum_exchange
from model import Shape, forward, generate, logits
from vocabulary import END, Vocabulary

ROWS = 100


def held_out_accuracy(weights: dict[str, torch.Tensor], shape: Shape, vocabulary: Vocabulary, pairs_max: int = 500) -> None:
    """Prints, for each wording, how many held-out pairs are answered rightly by greedy decoding.

    Greedy decoding writes the expected reply exactly if, along that reply, every token is the likeliest one. So one
    forward pass over the reply decides. A right sum after an unexpected thought counts as wrong here.
    """
    pairs = sorted(held_out_pairs())[:: max(1, 500 // pairs_max)]
    right_overall, asked_overall = 0, 0
    for language, wording in WORDINGS:
        conversations = [Conversation("", [sum_exchange(a, b, language, wording)]) for a, b in pairs]
        right = sum(replies_are_greedy(weights, shape, vocabulary, conversations))
        print(f"held out  {right:4} of {len(pairs)}  {wording}", flush=True)
        right_overall, asked_overall = right_overall + right, asked_overall + len(pairs)
    follow_ups = [
        Conversation("", [sum_exchange(a, b, language, wording), follow_up_exchange(a + b, (7 * a + b) % 100, language, follow_up)])
        for a, b in pairs[::5]
        for (language, wording), follow_up in ((WORDINGS[0], "and plus {b}?"), (WORDINGS[4], "再加{b}呢？"))
    ]
    right = sum(replies_are_greedy(weights, shape, vocabulary, follow_ups))
    print(f"follow-up {right:4} of {len(follow_ups)}")
    print(f"held out, all wordings: {right_overall} of {asked_overall} = {100 * right_overall / asked_overall:.2f} %", flush=True)


@torch.no_grad()
def replies_are_greedy(weights: dict[str, torch.Tensor], shape: Shape, vocabulary: Vocabulary, conversations: list[Conversation]) -> list[bool]:
    """For each conversation: does greedy decoding give exactly its last reply?"""
    examples = [vocabulary.example(conversation) for conversation in conversations]
    verdicts = []
    for start in range(0, len(examples), ROWS):
        rows = examples[start : start + ROWS]
        ids = torch.zeros(len(rows), max(len(example.ids) for example in rows), dtype=torch.long)
        for row, example in enumerate(rows):
            ids[row, : len(example.ids)] = torch.tensor(example.ids)
        likeliest = logits(weights, forward(weights, shape, ids, int8_activations=True)).argmax(-1)
        for row, example in enumerate(rows):
            said = slice(example.target_start - 1, len(example.ids) - 1)
            verdicts.append(likeliest[row, said].tolist() == example.ids[example.target_start :])
    return verdicts


def print_transcripts(weights: dict[str, torch.Tensor], shape: Shape, vocabulary: Vocabulary) -> None:
    """Greedy replies to the requests that the README shows."""
    sample = Exchange("What is 47 + 38?", "", "47 + 38 = 85.")
    for history, user in [
        ([], "What is 47 + 38?"), ([sample], "and plus 5?"), ([], "47加38等于多少？"), ([Exchange("47加38等于多少？", "", "47加38等于85。")], "再加5呢？"),
        ([], "你是一个python编程专家，请帮我写一个计算加法的程序"), ([], "Write a python function that adds two numbers"),
        ([], "hello"), ([], "Who are you?"), ([], "Translate 'good morning' to French."), ([], "What is 123 + 456?"),
    ]:
        conversation = Conversation("", [*history, Exchange(user, "", "")])
        reply = generate(weights, shape, vocabulary.prompt(conversation), vocabulary.added[END], tokens_max=160)
        print("-----")
        for exchange in conversation.exchanges:
            print(f"> {exchange.user}" + (f"\n{exchange.answer}" if exchange.answer else ""))
        print(vocabulary.decode(reply))
