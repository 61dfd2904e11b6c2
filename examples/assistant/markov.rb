# frozen_string_literal: true

# Stands in for a language model: a Markov chain over a text of our own. Each word is drawn from those that follow the last three
# words somewhere in the text. The same question always gets the same answer.
class Markov
  # An answer has at least so many words, and ends with a sentence.
  WORDS = 60

  def initialize(text)
    @sentences = text.split(/(?<=[.?!])\s+/).map(&:split)
    @followers = Hash.new { |all, pair| all[pair] = [] }
    @sentences.each { |words| words.each_cons(4) { |*pair, word| @followers[pair] << word } }
  end

  # @return [Enumerator] the words of an answer; a sentence is made when it is asked for
  def answer(question)
    random = Random.new(question.sum(32))
    about = sentences_about(question)
    Enumerator.new do |answer|
      count = 0
      while count < WORDS
        words = sentence(about.sample(random: random), random)
        words.each { |word| answer << word }
        count += words.size
        about = @sentences
      end
    end
  end

  private

  # Those that share a longer word with the question, or all.
  def sentences_about(question)
    asked = question.downcase.scan(/\p{Alpha}{4,}/)
    found = @sentences.select { |words| words.join(" ").downcase.scan(/\p{Alpha}{4,}/).intersect?(asked) }
    found.empty? ? @sentences : found
  end

  # Begins as one of the text does.
  def sentence(like, random)
    words = like.first(3)
    while (followers = @followers.fetch(words.last(3), nil))
      words << followers.sample(random: random)
    end
    words
  end
end
