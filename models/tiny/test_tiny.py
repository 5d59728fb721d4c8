"""Claims the recipe rests on.  Run with:  python -m unittest test_tiny"""

import random
import re
import unittest

import gguf
import torch

from corpus import conversation, held_out_pairs
from quantize import Q4K, Q6K
from vocabulary import ADDED_TOKENS, END, Vocabulary, plain_texts

SEED = 7


class Blocks(unittest.TestCase):
    def check(self, kind, raw_type, error_max):
        weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(SEED)) * 0.05
        weight[0] = 0.0
        weight[1] = 0.3
        weight[2] = -0.2
        block = kind.of(weight)
        values = block.values().reshape(weight.shape)
        read = torch.from_numpy(gguf.dequantize(block.pack().reshape(64, -1), raw_type))
        self.assertTrue(torch.equal(values, read), f"seed {SEED}")
        self.assertLess(((values - weight).norm() / weight.norm()).item(), error_max, f"seed {SEED}")

    def test_a_reader_of_q4_k_sees_the_values_that_training_saw(self):
        self.check(Q4K, gguf.GGMLQuantizationType.Q4_K, 0.10)

    def test_a_reader_of_q6_k_sees_the_values_that_training_saw(self):
        self.check(Q6K, gguf.GGMLQuantizationType.Q6_K, 0.03)

    def test_rounding_rounded_weights_again_moves_them_less_than_a_step(self):
        weight = torch.randn(8, 256, generator=torch.Generator().manual_seed(SEED))
        for kind in (Q4K, Q6K):
            once = kind.of(weight).values().reshape(weight.shape)
            twice = kind.of(once).values().reshape(weight.shape)
            self.assertLess((once - twice).abs().max().item(), 0.1, f"{kind.__name__}, seed {SEED}")


class Corpus(unittest.TestCase):
    def test_no_training_conversation_asks_a_held_out_pair(self):
        for index in range(20_000):
            for exchange in conversation(random.Random(f"test {index}")).exchanges:
                numbers = tuple(map(int, re.findall(r"\d+", exchange.user)))
                if exchange.total is not None and numbers in held_out_pairs():
                    self.fail(f"conversation {index}: {exchange.user!r}")

    def test_every_thought_ends_in_the_sum_that_the_answer_states(self):
        for index in range(5_000):
            last = conversation(random.Random(f"test {index}")).exchanges[-1]
            if last.total is not None:
                self.assertEqual(re.findall(r"\d+", last.thought)[-1], str(last.total), f"conversation {index}")
                self.assertEqual(re.findall(r"\d+", last.answer)[-1], str(last.total), f"conversation {index}")


class Words(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        texts = [text for index in range(500) for text in plain_texts(conversation(random.Random(f"test {index}")))]
        cls.vocabulary = Vocabulary.trained(texts, 512)

    def test_any_text_survives_encoding_and_decoding(self):
        for text in ["What is 47 + 38?", "计算47+38", "naïve \t\r\n 😀 \u0000 ﷽", " " * 7, "'LL don't", ""]:
            self.assertEqual(self.vocabulary.decode(self.vocabulary.encode(text)), text)

    def test_a_control_token_spelled_by_a_user_stays_text(self):
        self.assertNotIn(self.vocabulary.added[END], self.vocabulary.encode(f"hi{END}"))

    def test_digits_stand_alone(self):
        self.assertEqual(len(self.vocabulary.encode("1234567890")), 10)

    def test_the_added_tokens_come_last(self):
        self.assertEqual(self.vocabulary.tokens[-len(ADDED_TOKENS) :], [token for token, _ in ADDED_TOKENS])
        self.assertEqual(len(self.vocabulary), 512)


if __name__ == "__main__":
    unittest.main()
