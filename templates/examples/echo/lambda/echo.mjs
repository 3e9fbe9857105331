// echo: whoever sends {"action":"echo","data":…} hears {"echo":…}.

export async function handler({ body }) {
  const { data } = JSON.parse(body);
  return { statusCode: 200, body: JSON.stringify({ echo: data ?? null }) };
}
