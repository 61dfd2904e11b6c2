# frozen_string_literal: true

require_relative "channel_clients"

# Many clients that come, go and resume while many threads publish. Each checks that it gets every message of every thread and
# channel once and in order, or is told about a gap.
class Storm
  # A client with its reconnects.
  class Visitor
    attr_reader :channels, :errors, :gaps, :received, :returns

    def initialize(address, channels, random, kind)
      @address, @channels, @random, @kind = address, channels, random, kind
      @cursor = nil
      @last = Hash.new { |all, key| all[key] = nil }
      @errors, @gaps, @received, @returns, @ended = [], 0, 0, 0, []
      @opened = Queue.new
    end

    # Waits until it has subscribed.
    def await_open = @opened.pop

    def run
      visit until (@channels - @ended).empty?
      self
    end

    private

    def visit
      headers = @cursor ? { "last-event-id" => @cursor } : {}
      client = @kind.new(@address, "/#{@channels.join(",")}?storm", headers: headers)
      # The client leaves during a replay, at its end, or much later.
      patience = @random.rand(3).zero? ? @random.rand(20) : @random.rand(2000)
      patience.times do
        take(client.read_event(seconds: 60))
        break if (@channels - @ended).empty?
      end
      @returns += 1
    ensure
      @random.rand(2).zero? ? client&.reset : client&.close
    end

    def take(block)
      @cursor = block.id if block.id
      case block.event
      when "push.open" then opened(JSON.parse(block.data))
      when "msg" then message(*block.data.split(":"))
      else @errors << "unexpected #{block.event}"
      end
    end

    def opened(data)
      @opened << true
      data["gap"].each do |channel|
        @gaps += 1
        @last.delete_if { |(name, _), _| name == channel }
      end
    end

    def message(channel, thread, number = nil)
      return @ended |= [channel] if thread == "end"

      @received += 1
      number = Integer(number)
      last = @last[[channel, thread]]
      @errors << "#{channel} #{thread}: #{number} after #{last}" if last && number != last + 1
      @last[[channel, thread]] = number
    end
  end

  CHANNELS = %w[storm-0 storm-1 storm-2 storm-3 storm-4 storm-5].freeze
  # The beginning of an app. With STORM_FAN_OUT=off each of its streams is woken to send: see support/app/without_fan_out.rb.
  SETUP = "require 'push_server'\n#{"require 'without_fan_out'\n" if ENV["STORM_FAN_OUT"] == "off"}".freeze

  def initialize(app, seed:, clients: 200, threads: 8, messages: 400)
    @app, @clients, @threads, @messages = app, clients, threads, messages
    @random = Random.new(seed)
  end

  # The number of messages of each channel.
  attr_reader :published

  # Runs all clients until they have got the end of their channels, and returns them.
  def run
    kinds = ChannelClients::KINDS.values
    visitors = Array.new(@clients) do |index|
      Visitor.new(@app.address, CHANNELS.sample(3, random: @random), Random.new(@random.rand(1 << 30)), kinds[index % kinds.size])
    end
    running = visitors.map { |visitor| Thread.new { visitor.run } }
    visitors.each(&:await_open)
    @published = @app.ask(publishing, seconds: 120).transform_keys(&:to_s)
    running.map(&:value).tap { await_last_end }
  ensure
    running&.each(&:kill)
  end

  private

  # Clients of another storm in the same app must not get this one's ends.
  def await_last_end = @app.ask("$ends.join; nil")

  # Each thread numbers its messages in each channel. Afterwards, ends are published until all clients have gone.
  def publishing
    <<~RUBY
      threads = Array.new(#{@threads}) do |thread|
        Thread.new do
          numbers = Hash.new(0)
          random = Random.new(thread)
          #{@messages}.times do |count|
            channel = #{CHANNELS.inspect}.sample(random: random)
            PushServer.publish(channel, "\#{channel}:\#{thread}:\#{numbers[channel] += 1}")
            sleep(0.001) if (count % 20).zero?
          end
          numbers
        end
      end
      published = threads.map(&:value).reduce { |all, more| all.merge(more) { |_, one, other| one + other } }
      $ends = Thread.new do
        100_000.times do
          #{CHANNELS.inspect}.each { |channel| PushServer.publish(channel, "\#{channel}:end") }
          break if PushServer.stats[:readers].zero?
          sleep 0.1
        end
      end
      published
    RUBY
  end
end
