# frozen_string_literal: true

module PushServer
  # From when until when certificates are valid, and what administrators should know of that. One thread.
  class Validity
    # So many seconds before its end, at most, a certificate ends soon.
    SOON = 14 * 86_400
    # A certificate that is valid for a short time ends soon when less than this part of it is left.
    PART = 0.1
    private_constant :SOON, :PART

    # @param certificates [Array<Array(String, String, Integer, Integer)>] as {NativeServer.check_tls} returns them
    def initialize(certificates)
      @certificates = certificates
      @said = {}
    end

    # What has not been said yet.
    # @param now [Integer] seconds since 1970
    # @return [Array<String>] lines for the log
    def warnings(now = Time.now.to_i)
      @certificates.filter_map.with_index do |certificate, index|
        line = line(*certificate, now)
        @said[index] = line if line != @said[index]
      end
    end

    private

    # The time decides only which of the lines it is.
    def line(file, subject, from, to, now)
      what = ["the certificate in #{file}", *("for #{subject}" unless subject.empty?)].join(" ")
      if now > to
        "#{what} has expired on #{date(to)}: clients refuse it"
      elsif now < from
        "#{what} is not valid before #{date(from)}: clients refuse it until then"
      elsif to - now < [SOON, (to - from) * PART].min
        "#{what} expires on #{date(to)}"
      end
    end

    def date(seconds) = Time.at(seconds).utc.strftime("%F %T UTC")
  end
end
