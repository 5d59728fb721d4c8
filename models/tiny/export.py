"""Writes the model as a GGUF file of type Q4_K_M."""

import pathlib

import torch
from gguf import GGMLQuantizationType, GGUFWriter

from model import Shape, block_format
from quantize import Q4K
from vocabulary import BEGIN, END, Vocabulary

CHAT_TEMPLATE_FILE = pathlib.Path(__file__).with_name("chat_template.jinja")
FILE_TYPE_Q4_K_M = 15
QUANTIZATION_VERSION = 2


def write_gguf(path: pathlib.Path, weights: dict[str, torch.Tensor], shape: Shape, vocabulary: Vocabulary) -> None:
    """`weights` are the trained ones; they are rounded here, once."""
    writer = GGUFWriter(path, "qwen2")
    _add_description(writer, shape)
    _add_vocabulary(writer, vocabulary)
    for name, weight in weights.items():
        _add_tensor(writer, name, weight.detach(), shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{path.name}: {path.stat().st_size} bytes", flush=True)


def _add_description(writer: GGUFWriter, shape: Shape) -> None:
    writer.add_type("model")
    writer.add_name("tandem-tiny")
    writer.add_description("A tiny reasoning model that thinks, then adds two numbers from 0 to 99")
    writer.add_license("mit OR apache-2.0")
    writer.add_languages(["en", "zh"])
    writer.add_size_label("3M")
    writer.add_block_count(shape.layers)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(FILE_TYPE_Q4_K_M)
    writer.add_quantization_version(QUANTIZATION_VERSION)


def _add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("deepseek-r1-qwen")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    writer.add_token_merges(vocabulary.merges())
    writer.add_bos_token_id(vocabulary.added[BEGIN])
    writer.add_eos_token_id(vocabulary.added[END])
    writer.add_pad_token_id(vocabulary.added[END])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE_FILE.read_text(encoding="utf-8"))


def _add_tensor(writer: GGUFWriter, name: str, weight: torch.Tensor, shape: Shape) -> None:
    kind = block_format(name, shape)
    if kind is None:
        writer.add_tensor(name, weight.numpy())
        return
    packed = kind.of(weight).pack()
    raw_type = GGMLQuantizationType.Q4_K if kind is Q4K else GGMLQuantizationType.Q6_K
    writer.add_tensor(name, packed.reshape(weight.shape[0], -1), raw_dtype=raw_type)
