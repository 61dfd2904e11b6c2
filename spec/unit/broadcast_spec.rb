# frozen_string_literal: true

require_relative "unit_helper"
require "json"
require "rack/lint"
require "rack/mock"

RSpec.describe PushServer.const_get(:Broadcast) do
  secret = "a secret of this spec alone"
  # RFC 4231 has the algorithm; this value is from `printf broadcast-cable | openssl dgst -sha256 -hmac "$SECRET"`.
  token = "acb36bc1ba3f9f9ee6cc4860042a96940d21563b296ce3761e9f5cde1ace90b6"

  def options(**given) = PushServer::Options.new(given, env: {})

  let(:app) { ->(_env) { [200, { "content-type" => "text/plain" }, ["the app"]] } }

  it "makes AnyCable's token from the secret" do
    expect(described_class.token(secret)).to eq(token)
  end

  it "is in front of an app only if there is a secret" do
    expect(described_class.in_front_of(app, options)).to be(app)
    expect(described_class.in_front_of(app, options(broadcast_path: "/publish"))).to be(app)
    expect(described_class.in_front_of(app, options(broadcast_secret: secret))).to be_a(described_class)
  end

  it "shows neither the secret nor the token when it is inspected" do
    shown = described_class.in_front_of(app, options(broadcast_secret: secret)).inspect
    expect(shown).to eq("#<PushServer::Broadcast /_broadcast>")
  end

  it "answers as Rack::Lint wants it" do
    layer = Rack::MockRequest.new(Rack::Lint.new(described_class.in_front_of(app, options(broadcast_secret: secret))))
    expect(layer.post("/").body).to eq("the app")
    expect(layer.get("/_broadcast").status).to eq(405)
    expect(layer.post("/_broadcast").status).to eq(401)
    json = { "HTTP_AUTHORIZATION" => "Bearer #{token}", "CONTENT_TYPE" => "application/json" }
    expect(layer.post("/_broadcast", json.merge("CONTENT_TYPE" => "text/plain", :input => "{}")).status).to eq(415)
    expect(layer.post("/_broadcast", json.merge(input: "{}")).status).to eq(400)
  end
end

RSpec.describe PushServer.const_get(:BroadcastMessages) do
  # Any JSON, often similar to messages.
  def value(random, depth = 0)
    case random.rand(depth > 3 ? 7 : 10)
    when 0 then nil
    when 1 then random.rand(-5..5)
    when 2 then random.rand * (10**random.rand(30))
    when 3 then [true, false].sample(random: random)
    when 4..6 then ["", "a", "é\u2028", "a\nb", "x" * random.rand(300)].sample(random: random)
    when 7 then Array.new(random.rand(4)) { value(random, depth + 1) }
    else message(random, depth)
    end
  end

  def message(random, depth)
    message = { "stream" => "a", "data" => "x" }
    random.rand(3).times { message[%w[stream data event store other].sample(random: random)] = value(random, depth + 1) }
    message.delete(%w[stream data].sample(random: random)) if random.rand(5).zero?
    message
  end

  # Bytes of the JSON replaced, removed or repeated.
  def damaged(random, text)
    text = text.b
    random.rand(3).times { text[random.rand(text.size + 1), random.rand(3)] = random.bytes(random.rand(3)) }
    text
  end

  it "is made from any body, or refuses the body with one line" do
    random = Random.new(RSpec.configuration.seed)
    outcomes = Array.new(2000) do
      body = damaged(random, JSON.generate(random.rand(3).zero? ? value(random) : Array.new(random.rand(3)) { message(random, 0) }))
      messages = described_class.parse(body, max: 2)
      messages.check
      :taken
    rescue described_class::Refused => e
      expect(e.message).to match(/\A[[:print:]]+\z/)
      e.status
    end
    expect(outcomes.tally.keys).to match_array([:taken, 400, 413])
  end

  it "leaves the given String alone" do
    body = '{"stream": "a", "data": "é"}'.b.freeze
    expect(described_class.parse(body, max: 1)).to be_a(described_class)
    expect(body.encoding).to eq(Encoding::BINARY)
  end
end
