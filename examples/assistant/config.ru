# frozen_string_literal: true

# Start it with `bin/push_server examples/assistant/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/. Without a browser:
#
#   curl -N -H "accept: text/event-stream" -d "Who is the keeper?" http://localhost:9292/talks/0123456789abcdef
#
# The page sends a question by POST. The response is a stream of the answer, word by word. The words go through a channel with
# a history, so a page that is loaded again continues where it was, and a second tab shows the same answer.

require "json"
require "push_server"
require "securerandom"
require_relative "markov"

HISTORY = 2000
PushServer.channel "talk:*", history: HISTORY, ttl: 3600

# The answer to one question.
Answer = Struct.new(:channel, :id, :words) do
  # Publishes the next word. Returns false when there is none.
  def go_on
    tell("word", word: words.next)
    true
  rescue StopIteration
    tell("done", streams: PushServer.stats[:open_event_streams], threads: Thread.list.size)
    false
  end

  def tell(event, **news) = PushServer.publish(channel, { answer: id, **news }, event: event)
end

# Writes all answers on one thread: a word of each answer in turn. It does not know its readers. They may be clients of other
# workers. An answer ends with the worker that writes it. Work that must outlive a worker belongs into a job, which publishes in
# the same way.
class Writer
  PAUSE = 0.06

  def initialize(model)
    @model = model
    @asked = Thread::Queue.new
    @mutex = Mutex.new
  end

  def ask(channel, question)
    answer = Answer.new(channel, SecureRandom.hex(4), @model.answer(question))
    answer.tell("asked", question: question)
    @asked << answer
    # Not earlier: workers do not inherit the threads that the app starts while it is loaded.
    @mutex.synchronize { @thread ||= Thread.new { write } }
  end

  private

  def write
    answers = []
    loop do
      answers << @asked.pop until @asked.empty? && answers.any?
      answers.select!(&:go_on)
      sleep PAUSE
    end
  end
end

# A conversation. It is also the handler of the streams that read it. Nobody can guess its id, so a client that knows the id
# may read and ask.
class Talk
  QUESTION = 1..500

  attr_reader :channel

  def initialize(id)
    @channel = "talk:#{id}"
    # A client that has read nothing yet begins with its own question.
    @cursor = PushServer.cursor
  end

  def on_open(client) = client.subscribe(channel, since: client.last_event_id || @cursor)

  # The page's stream begins after the last message in the page. If there is none, it begins at the cursor that was taken
  # before.
  def page
    told = PushServer.history(channel, limit: HISTORY)
    messages = told.map { |message| { event: message.event, data: message.data } }
    state = JSON.generate(cursor: told.last&.id || @cursor, told: messages)
    File.read(File.join(__dir__, "index.html")).sub("{{state}}") { state.gsub("<", '\u003c') }
  end
end

writer = Writer.new(Markov.new(File.read(File.join(__dir__, "harbour.txt"))))

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  case "#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}"
  when "GET /"
    id = env["QUERY_STRING"][/\A\h{16}\z/]
    next [302, { "location" => "?#{SecureRandom.hex(8)}", "cache-control" => "no-store" }, []] unless id

    [200, { "content-type" => "text/html; charset=utf-8", "cache-control" => "no-store" }, [Talk.new(id).page]]
  when %r{\A(GET|POST) /talks/(\h{16})\z}
    asks, talk = $1 == "POST", Talk.new($2)
    if asks
      question = env["rack.input"].read.force_encoding(Encoding::UTF_8).scrub.strip
      next [422, {}, []] unless Talk::QUESTION.cover?(question.size)

      writer.ask(talk.channel, question)
    end
    # A client may ask a question without reading the answer.
    next [asks ? 202 : 404, {}, []] unless env["rack.upgrade?"]

    env["rack.upgrade"] = talk
    [200, {}, []]
  else [404, {}, []]
  end
end)
