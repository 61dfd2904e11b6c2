# frozen_string_literal: true

class ProcessStorm
  # What is known of all messages of a storm: when each was published, when its publisher had the answer, and its number. All
  # clients and publishers report to it, so it sees when two of them disagree. Thread-safe.
  class Ledger
    # A message. sent: when its request was sent, in seconds of the monotonic clock; answered: when the 200 came, nil if none did.
    # batch and place: its request, and its place there.
    Publication = Struct.new(:payload, :channel, :batch, :place, :sent, :answered, :number)

    # What went wrong so far, a line each.
    attr_reader :errors

    def initialize
      @mutex = Mutex.new
      @publications = {}
      # By epoch: number => payload. The epochs are in the order in which they were first seen.
      @epochs = {}
      @errors = []
      @batches = 0
    end

    # Registers the messages of a request before it is sent.
    def sent(payloads, at = ProcessStorm.now)
      @mutex.synchronize do
        batch = @batches += 1
        payloads.each_with_index do |payload, place|
          publication = @publications[payload] ||= Publication.new(payload, payload[/\A\S+/])
          publication.batch, publication.place, publication.sent = batch, place, at
        end
      end
    end

    # The request was answered with 200: the messages are published. cursors: theirs, if the answer has them.
    def answered(payloads, cursors = [], at = ProcessStorm.now)
      payloads.each_with_index do |payload, place|
        seen(*ProcessStorm.cursor(cursors[place]), payload) if cursors[place]
        @mutex.synchronize { @publications[payload].answered = at }
      end
    end

    # A client has got this message.
    def seen(epoch, seq, payload)
      @mutex.synchronize do
        numbers = @epochs[epoch] ||= {}
        known = numbers[seq] ||= record(epoch, seq, payload)
        complain("number #{epoch}-#{seq} is #{known.inspect} and #{payload.inspect}") unless known == payload
      end
    end

    # A client was told of a member. All clients that are told have the same number for it.
    def announced(epoch, seq, text)
      @mutex.synchronize do
        known = (@epochs[epoch] ||= {})[seq] ||= text
        complain("number #{epoch}-#{seq} is #{known.inspect} and #{text.inspect}") unless known == text
      end
    end

    def complain(text)
      @errors << text if @errors.size < 50
    end

    def report(text) = @mutex.synchronize { complain(text) }

    def size = @mutex.synchronize { @publications.size }
    def epochs = @mutex.synchronize { @epochs.keys }
    def answered_count = @mutex.synchronize { @publications.each_value.count(&:answered) }

    # The numbers of a channel's messages in an epoch, rising.
    def numbers(epoch, channel) = (@numbers ||= index).fetch([epoch, channel], [])

    def publication(epoch, seq) = @publications[@epochs.dig(epoch, seq)]

    # To be called when all is over, before numbers.
    def check
      @errors.concat(unseen).concat(out_of_order).concat(batches_out_of_order)
    end

    private

    def record(epoch, seq, payload)
      publication = @publications[payload]
      # What the outside process says may be read after a client has got the message.
      publication ||= @publications[payload] = Publication.new(payload, payload[/\A\S+/]) if payload.include?(" outsider ")
      publication or complain("nobody has published #{payload.inspect}")
      return payload unless publication

      complain("#{payload.inspect} has the numbers #{publication.number.join("-")} and #{epoch}-#{seq}") if publication.number
      publication.number = [epoch, seq]
      payload
    end

    def index
      @epochs.each_with_object({}) do |(epoch, numbers), all|
        numbers.sort.each { |seq, payload| (all[[epoch, @publications[payload]&.channel]] ||= []) << seq }
      end
    end

    # A message whose request was answered, and which no client has got. Each channel has many readers, and not all of them have a
    # gap at the same place without a new epoch.
    def unseen
      return [] if @epochs.size > 1

      lost = @publications.each_value.select { |publication| publication.answered && !publication.number }
      lost.first(10).map { |publication| "#{publication.payload.inspect} was answered with 200, but nobody has got it" }
    end

    # What was published after an answer has a higher number than what was answered.
    def out_of_order
      places = @epochs.keys.each_with_index.to_h
      order = ->(publication) { publication.number.then { |epoch, seq| [places.fetch(epoch), seq] } }
      numbered = @publications.values.select(&:number)
      finished = numbered.select(&:answered).sort_by(&:answered)
      highest = nil
      numbered.sort_by(&:sent).filter_map do |publication|
        while finished.first && finished.first.answered < publication.sent
          first = finished.shift
          highest = first if highest.nil? || (order[first] <=> order[highest]).positive?
        end
        next if highest.nil? || (order[highest] <=> order[publication]).negative?

        "#{publication.payload.inspect} has the number #{publication.number.join("-")}, but #{highest.payload.inspect}, " \
          "which was answered before, has #{highest.number.join("-")}"
      end
    end

    # A thread's messages have their order.
    def batches_out_of_order
      @publications.each_value.select(&:number).group_by(&:batch).each_value.filter_map do |all|
        by_place = all.sort_by(&:place)
        numbers = by_place.map { |publication| publication.number.last }
        next if numbers == numbers.sort || all.map { |publication| publication.number.first }.uniq.size > 1

        "one thread has published #{by_place.first.payload.inspect} and the next ones, but their numbers are #{numbers}"
      end
    end
  end
end
