"""langchain-openai: invoke, stream, batch, vectors, on the base and on an adapter, through chats and responses."""

from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

from common import ADAPTER, BASE, QUESTION, URL, expect

settings = dict(base_url=f"{URL}/v1", api_key="none", temperature=0, max_tokens=24)
chat = ChatOpenAI(model=BASE, **settings)
answer = chat.invoke(QUESTION)
expect("Paris" in answer.content and answer.usage_metadata["output_tokens"] > 0, answer)
expect("".join(chunk.content for chunk in chat.stream(QUESTION)) == answer.content, "the stream says something else")
expect([one.content for one in chat.batch([QUESTION, QUESTION])] == [answer.content] * 2, "the batch says something else")
expect(ChatOpenAI(model=ADAPTER, **settings).invoke(QUESTION).content != answer.content, "the adapter changed nothing")
expect(ChatOpenAI(model=BASE, use_responses_api=True, **settings).invoke(QUESTION).text != "", "responses")
expect("Paris" in OpenAI(model=BASE, **settings).invoke("The capital of France is"), "completions")

# The check is off: it would cut texts into the tokens of OpenAI's own models.
whole = dict(check_embedding_ctx_length=False, chunk_size=2)
embeddings = OpenAIEmbeddings(model=BASE, base_url=f"{URL}/v1", api_key="none", **whole)
texts = ["A cat sat on the mat.", "The kitten sat on the rug.", "Interest rates rose in June."]
vectors = embeddings.embed_documents(texts)
likeness = [sum(a * b for a, b in zip(embeddings.embed_query(texts[0]), vector)) for vector in vectors]
expect(len(vectors) == 3 and likeness[0] > likeness[1] > likeness[2], likeness)
