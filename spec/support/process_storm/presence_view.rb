# frozen_string_literal: true

class ProcessStorm
  # What a client knows of the members of its channels, by push.here, push.join and push.leave. It complains of what contradicts
  # itself: a join of somebody who is there, a leave of somebody who is not.
  #
  # forever: members never leave, because they linger for longer than the storm lasts. Then no leave is allowed at all, and no second
  # join either, also not after the client has come back.
  class PresenceView
    # What the client has heard of a channel since its connection began. here: nil until it has got the list.
    Room = Struct.new(:here, :seen)

    def initialize(channels, forever: false)
      @rooms = channels.to_h { |channel| [channel, Room.new(nil, {})] }
      @forever = forever
    end

    # A new connection or session: its lists follow.
    def restart = @rooms.each_value { |room| room.here = nil }

    # The epoch has changed, or a gap was told: what was true before may have been lost with a process.
    def forget = @rooms.each_value { |room| room.seen.clear }

    # The names of a channel's members; nil if the client does not know them.
    def members(channel) = @rooms.fetch(channel).here&.keys&.sort

    # An event. Returns what is wrong with it, if anything is.
    def take(event, data)
      room = @rooms.fetch(data.fetch("channel"))
      case event
      when "push.here" then here(room, data.fetch("members").keys)
      when "push.join" then join(room, data.fetch("member"))
      when "push.leave" then leave(room, data.fetch("member"))
      end
    end

    private

    def here(room, members)
      room.here = members.to_h { |member| [member, true] }
      missing = @forever ? room.seen.keys - members : []
      room.seen.merge!(room.here)
      "#{missing} missing, who were there before" if missing.any?
    end

    # Before the list, nothing is known.
    def join(room, member)
      second = room.here&.key?(member) || (@forever && room.seen.key?(member))
      room.here[member] = true if room.here
      room.seen[member] = true
      "#{member} joined, who was there already" if second
    end

    def leave(room, member)
      absent = room.here && !room.here.delete(member)
      return "#{member} left, who was not there" if absent

      "#{member} left before the linger had passed" if @forever
    end
  end
end
