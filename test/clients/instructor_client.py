"""instructor: the same model of the answer by tools, by response_format, and by the schema beside `json_object`."""

import instructor
import openai
from instructor import Mode
from pydantic import BaseModel, ConfigDict, Field

from common import ADAPTER, BASE, URL, expect


class Order(BaseModel):
    # A schema that is open to more fields is one that a small model fills with more.
    model_config = ConfigDict(extra="forbid")
    drink: str = Field(max_length=20)
    count: int = Field(ge=1, le=9)


question = [{"role": "user", "content": "Two small teas, please."}]
for mode in (Mode.TOOLS, Mode.JSON_SCHEMA, Mode.TOOLS_STRICT):
    client = instructor.from_openai(openai.OpenAI(base_url=f"{URL}/v1", api_key="none"), mode=mode)
    for model in (BASE, ADAPTER):
        order = client.chat.completions.create(
            model=model, messages=question, response_model=Order, max_retries=0, temperature=0, max_tokens=200
        )
        expect(isinstance(order, Order), (mode, order))
